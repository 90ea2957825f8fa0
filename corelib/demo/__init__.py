"""The main job on real input: a model learns Fisher's irises, and its runs are recorded.

Law: the demo uses nothing but the public API and the standard library, touches no network, and takes a few
seconds. What it shows is what any script gets.
"""
