"""Wire layouts: datagrams, seals and the frames of the spool."""
