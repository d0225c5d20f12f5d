"""Settings of every verb, their flags, and the frame of a command line. Only `build` imports TensorFlow."""
