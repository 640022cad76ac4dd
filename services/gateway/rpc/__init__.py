"""The gRPC edge: the API's services, google.longrunning, the Open Inference Protocol, health and reflection."""
