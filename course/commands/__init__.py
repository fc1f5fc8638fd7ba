"""The words of the ``attnlab`` command, a module each. What a word needs is imported when it is used."""
