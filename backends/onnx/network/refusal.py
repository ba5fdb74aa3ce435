"""Why a network is not taken in."""


class BadNetwork(ValueError):
    """The file holds no network that can be read; the message says why, in plain words."""


class Uncovered(ValueError):
    """A node asks for something that we have no primitives for."""


class Misfit(ValueError):
    """The arguments are not such as the network takes."""
