"""Datagrams made readable: found in files of several kinds, and described as text."""
