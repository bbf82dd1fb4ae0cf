"""Every error that visavis raises on purpose, mapped once to an exit status or an HTTP status code.

Command lines catch `VisavisError`, print its one line and exit with `exit_status`;
the server turns it into a response with `http_status`. Anything else is a bug and shows its traceback.
"""


class VisavisError(Exception):
    """Base of all expected errors. The message is one line that a user can act on."""

    exit_status = 2
    http_status = 400


class InputError(VisavisError):
    """An argument or a file that the user gave cannot be used."""


class FaceError(VisavisError):
    """The picture does not show exactly one usable face."""

    http_status = 422


class NoFaceError(FaceError):
    """No face was found where one is needed."""


class SeveralFacesError(FaceError):
    """More than one face was found where exactly one is needed."""


class BitstreamError(VisavisError):
    """A motion message or a `.vav` file breaks the format (docs/protocol.md)."""


class WeightsError(VisavisError):
    """Weights are missing, damaged, or others than the data, or the other end of a call, needs."""

    http_status = 409
