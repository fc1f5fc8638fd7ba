"""Figures that move without a kernel, and drawings that need no plotting library.

Everything here is one piece of HTML: a picture (SVG inside an ``img``) and, where it moves, a few lines of script that
put a live version in the picture's place. No server, no kernel, nothing fetched. Where scripts do not run (a code
host, a notebook that is not trusted, a printed page) the picture stays, and the text below says the numbers.

    temperature   softmax at a temperature that the reader moves
    kernel        an average by nearness, at a place and of a width that the reader moves
    attention     weights to be read cell by cell, by head and layer, with a temperature and a mask
    course_map    the road to the Transformer, at the head of every chapter
    waiting       demonstrations that wait for the reader's own function
    drawing       a figure, and SVG;  pixels: a heat map in it;  live: what lets a picture come alive

The picture stands on a page whose colour it cannot know, so its colours are those of ``attnlab.plotting``, readable on
white and on black; the live version takes the colour of the text around it.
"""

from attnlab.interactive.attention import attention_map
from attnlab.interactive.course_map import road, stops
from attnlab.interactive.drawing import Figure
from attnlab.interactive.kernel import kernel_slider
from attnlab.interactive.temperature import temperature_slider
from attnlab.interactive.waiting import once_solved

__all__ = ["Figure", "attention_map", "kernel_slider", "once_solved", "road", "stops", "temperature_slider"]
