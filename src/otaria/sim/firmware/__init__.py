"""The firmware of the demo and the tests: real machine code for the ESP8266, built from our own C.

``source/`` holds two programs, a garden watering controller and a boot part that loads it. The module ``build``
compiles them with Debian's ``gcc-xtensa-lx106`` and lays the images out as the Arduino core does; ``images`` hands
out what was built that way, checked by digest, so that nobody else needs the compiler; ``marker`` finds in an image
what it calls itself.

The images are for virtual devices, which bring an eboot of their own. The boot part inside them only loads: a real
board with it would take an update and never install it.
"""
