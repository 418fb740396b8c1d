"""What people see: pages in English and Chinese, made on the server, with a little JavaScript."""
