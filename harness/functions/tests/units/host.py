"""Stands in for OpenLambda's server: imports f.py from the current folder and calls its `app` as WSGI says, on the
standard library's own server. `python3 host.py PORT`"""

import os
import sys
import wsgiref.simple_server

sys.path.insert(0, os.getcwd())
import f


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    """Without a line for each request."""

    def log_message(self, format, *args):
        pass


with wsgiref.simple_server.make_server("127.0.0.1", int(sys.argv[1]), f.app, handler_class=Quiet) as server:
    server.serve_forever()
