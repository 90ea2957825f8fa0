"""The commands of the command line, one module each, loaded when asked for.

Law: a command module offers `run(arguments) -> exit code` and prints what the library answers.
"""
