"""Configurations of nginx: one that answers every request alike, and one that passes them on.

Fill them with ``format``. Files that both write in one folder have names of their own.
"""

ANSWERS = """
daemon off; pid {folder}/nginx.pid; error_log stderr crit; worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{
    listen 127.0.0.1:{port}; default_type application/json; client_max_body_size 100m;
    location / {{ return 200 '{body}'; }}
  }}
}}
"""
PASSES_ON = """
daemon off; pid {folder}/proxy.pid; error_log stderr crit; worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {folder}/f; proxy_temp_path {folder}/g; fastcgi_temp_path {folder}/h;
  uwsgi_temp_path {folder}/i; scgi_temp_path {folder}/j;
  upstream worker {{ server 127.0.0.1:{worker}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port}; client_max_body_size 100m;
    location / {{ proxy_pass http://worker; proxy_http_version 1.1;
                  proxy_set_header Connection ""; }}
  }}
}}
"""
