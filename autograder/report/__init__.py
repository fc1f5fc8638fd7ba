"""What is told about a class: a report for its teacher, and a page of feedback for each student.

``model.py`` says what is known, ``gather.py`` reads it from the gradebook, ``figures.py`` counts, ``alike.py`` compares
answers, and ``pages.py`` writes HTML: whole pages that ask nobody for anything, in which a student's words are words.
"""
