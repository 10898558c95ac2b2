"""HTTP: the operator API on a UNIX socket, and what machines fetch and say on TCP. Home of aiohttp's server side."""
