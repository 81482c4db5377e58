"""gRPC channels with a client certificate, and bulk calls over them."""
