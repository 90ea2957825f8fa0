"""The transports that come with corelib: each carries records to one kind of backend, and knows no other."""
