"""The reference implementations of Attention Lab, one concept a module, in the order of the course.

Read a module as a text: the formula stands beside the line that computes it.

Letters, everywhere:

    B  batch            H  heads
    T  queries          S  keys (and values)
    d_model  width of the model      d_k, d_v  width of a key and of a value, in one head

Masks are boolean and **True means: may attend**. They broadcast to ``(B, H, T, S)``, are made in
``attnlab.masks`` and are passed in. A query that may attend to nothing gets zeros.
"""
