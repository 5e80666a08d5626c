"""The doors' neighbours where a server has several routers."""
