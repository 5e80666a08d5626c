"""How a request reaches its replica: frames over a Unix socket, or HTTP/1.1."""
