"""The rules: values in, decisions out. No clock, environment, file, socket, random, thread or print."""
