"""Settings from elsewhere: lists that files and servers hold, presets, the files of agents."""
