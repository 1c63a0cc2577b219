"""One client's story; gevent lives here and in service/, nowhere else."""
