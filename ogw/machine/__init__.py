"""What is underneath: what every program finds on its machine, whatever it was asked to do."""
