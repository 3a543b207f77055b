"""The operator's page: server-rendered, on loopback, behind a password. `server.web.app:create` is the ASGI factory."""
