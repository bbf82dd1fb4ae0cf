"""Every knob of the receiver in one typed object.

Each field is read from the environment variable `VISAVIS_` + its name in capitals; the command line of `serve`
overrides a few. deploy/visavis.env.example lists them all with their defaults, and a test keeps it complete.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model.codec.source_image import MAX_SOURCE_BYTES, MAX_SOURCE_PIXELS
from server.errors import SettingsError

MINIMUM_SECRET_BYTES = 32
"""HS256 needs a key at least as long as its hash (RFC 7518, section 3.2)."""

Urls = Annotated[tuple[str, ...], NoDecode]
"""A comma-separated list in the environment."""


class Settings(BaseSettings):
    """Settings of one receiver process. Frozen: a running server never changes them."""

    model_config = SettingsConfigDict(env_prefix="VISAVIS_", env_ignore_empty=True, frozen=True, extra="ignore")

    # Listening
    host: str = Field(
        default="127.0.0.1", description="Address to listen on. Anything but loopback needs a key and a secret."
    )
    port: int = Field(default=8080, ge=0, le=65535, description="TCP port of HTTP and WebSocket; 0 takes a free one.")
    client_folder: Path = Field(
        default=Path(__file__).resolve().parent.parent / "client_web", description="Folder of the browser page."
    )

    # Tokens
    api_key: str = Field(default="", description="Name of the key; the `iss` of tokens.")
    api_secret: SecretStr = Field(default=SecretStr(""), description="HS256 key of tokens, at least 32 bytes.")
    token_hours: float = Field(default=6.0, gt=0, le=24 * 365, description="Validity of minted tokens, hours.")
    invitation_hours: float = Field(
        default=24.0, gt=0, le=24 * 365, description="Longest validity of an invitation, hours."
    )
    webhook_url: str = Field(default="", description="Where events of rooms are posted, signed; needs a key.")
    default_room: str = Field(default="lobby", description="Room that the page opens when its address names none.")

    # Many machines
    redis_url: SecretStr = Field(
        default=SecretStr(""),
        description="Redis or Valkey that all nodes share (redis://host:6379/0); without it this is the only node.",
    )
    node_name: str = Field(default="", max_length=64, description="Name of this node; by default the machine's.")
    node_address: str = Field(
        default="",
        description="Where clients reach this very node, http(s)://host[/path]; its path is served, too.",
    )

    # Logs
    log_format: Literal["human", "json"] = Field(
        default="human", description="Lines for a person or one JSON object a line."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level logged."
    )

    # Bounds
    max_rooms: int = Field(default=100, ge=1, description="Rooms at a time.")
    max_participants: int = Field(default=16, ge=1, description="Participants of one room.")
    max_connections: int = Field(default=2000, ge=8, description="HTTP and WebSocket connections at a time.")
    max_connections_per_address: int = Field(
        default=200, ge=4, description="The same from one address; a proxy's is exempt."
    )
    proxies: Urls = Field(
        default=("127.0.0.1", "::1"),
        description="Addresses of reverse proxies, comma-separated: many clients come from each.",
    )
    max_sockets_per_identity: int = Field(
        default=16, ge=1, description="WebSockets that the token's `sub` may hold open at a time."
    )
    max_subscriptions: int = Field(default=32, ge=1, description="Subscriptions of one participant.")
    max_whep_viewers: int = Field(default=200, ge=0, description="Viewers that came by WHEP, in the whole process.")
    max_whep_viewers_per_room: int = Field(default=100, ge=0, description="The same of one room.")
    max_whep_viewers_per_identity: int = Field(default=16, ge=0, description="The same of one token's `sub`.")
    max_message_bytes: int = Field(default=65_536, ge=4096, description="One WebSocket message or session description.")
    max_messages_per_second: float = Field(
        default=50.0, gt=0, description="WebSocket messages of one client, sustained."
    )
    max_sources: int = Field(default=4, ge=1, le=256, description="Source images that one participant may hold.")
    max_sources_per_room: int = Field(default=64, ge=1, description="Source images held by one room.")
    max_sources_per_identity: int = Field(default=16, ge=1, description="Source images held by one token's `sub`.")
    max_uploads: int = Field(default=16, ge=1, description="Uploads that are received or decoded at a time.")
    uploads_per_minute: float = Field(
        default=30.0, gt=0, description="Uploads of one token's `sub` a minute, sustained; 10 at once."
    )
    offers_per_minute: float = Field(
        default=60.0, gt=0, description="Offers of one token's `sub` a minute, sustained; 100 at once."
    )
    offers_per_minute_per_address: float = Field(
        default=600.0, gt=0, description="The same from one address; 400 at once. A proxy's is exempt."
    )
    source_max_bytes: int = Field(default=MAX_SOURCE_BYTES, ge=1024, description="Body of a source image upload.")
    source_max_pixels: int = Field(
        default=MAX_SOURCE_PIXELS, ge=65_536, description="Width times height of a source image."
    )
    source_cache_mb: int = Field(default=512, ge=1, description="Memory of the cache of enrolled source images, MiB.")

    # Recordings
    recordings: Path | None = Field(
        default=None, description="Directory of recordings; without one nothing is recorded."
    )
    max_recordings: int = Field(default=8, ge=1, description="Rooms that are recorded at a time.")
    recording_max_mb: int = Field(default=4096, ge=1, description="Bytes of one recording, MiB; beyond, it ends.")
    recording_hours: float = Field(default=6.0, gt=0, description="Longest recording, hours; then it ends.")
    recording_min_free_mb: int = Field(default=1024, ge=0, description="MiB that recordings leave free on their disk.")

    # Times, seconds
    gone_seconds: float = Field(
        default=5.0, gt=0, description="Silence after which a participant is gone from the roster."
    )
    resume_seconds: float = Field(default=120.0, ge=0, description="How long a resume token is good after that.")
    header_seconds: float = Field(
        default=10.0, gt=0, description="Time for a request's first line and headers, and of a connection's idleness."
    )
    body_seconds: float = Field(default=20.0, gt=0, description="Time for a request's body.")
    connect_seconds: float = Field(default=15.0, gt=0, description="Time that ICE and DTLS may take.")
    join_seconds: float = Field(default=10.0, gt=0, description="Time between opening the WebSocket and joining.")
    drain_seconds: float = Field(default=5.0, ge=0, description="Notice given to clients at shutdown.")

    # ICE
    stun_urls: Urls = Field(default=(), description="STUN servers handed to clients, comma-separated (stun:host:3478).")
    turn_urls: Urls = Field(default=(), description="TURN servers handed to clients, comma-separated (turn:host:3478).")
    turn_secret: SecretStr = Field(
        default=SecretStr(""), description="coturn's static-auth-secret; needed with turn_urls."
    )
    turn_hours: float = Field(default=12.0, gt=0, description="Validity of TURN credentials, hours.")
    udp_port: int = Field(
        default=0, ge=0, le=65535, description="UDP port that all connections share; 0 takes one for each connection."
    )
    private_candidates: bool | None = Field(
        default=None,
        description="Whether candidates in private and loopback ranges count; none: only without a key. Set it on a "
        "local network.",
    )
    public_address: str = Field(
        default="",
        description="IP address of this host as clients see it, when that is another than its own (1:1 NAT).",
    )

    # Model and picture
    weights: Path | None = Field(default=None, description="Weights file; none takes the embedded small model.")
    random_weights: bool = Field(default=False, description="Run the untrained model, to work on the call itself.")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N.")
    engine: Literal["auto", "graphs", "torch"] = Field(
        default="auto",
        description="What runs the networks of each frame. auto: compiled graphs where they can run, else torch.",
    )
    graph_threads: int = Field(default=0, ge=0, description="Threads of compiled graphs in the receiver; 0: all cores.")
    torch_threads: int = Field(
        default=0,
        ge=0,
        description="torch's threads of the render engine on a CPU; 0: one beside graphs, else torch's choice.",
    )
    render_fps: float = Field(default=25.0, gt=0, le=60, description="Frames a second of rendered faces.")
    admit_share: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="Share of render_fps that must be left for everybody when one more face is admitted; 0: no bound.",
    )
    render_batch: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Most frames in one batch of the render engine; 0: 32 on a GPU, 4 on a CPU, 1 with graphs.",
    )
    playout_min_ms: float = Field(default=0.0, ge=0, description="Least depth of the playout buffer.")
    playout_max_ms: float = Field(default=400.0, gt=0, description="Greatest depth of the playout buffer.")
    video_codecs: Urls = Field(default=("VP8", "H264"), description="Video codecs in the order of preference.")
    mark_rendered: bool = Field(
        default=False, description="Draw the mark `rendered` into all rendered faces; avatars are marked always."
    )
    video_kbps: int = Field(default=900, ge=100, le=20_000, description="Greatest bit rate of one encoded face.")

    @field_validator("stun_urls", "turn_urls", "video_codecs", "proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("video_codecs")
    @classmethod
    def _known_codecs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = set(value) - {"VP8", "H264"}
        if unknown or not value:
            raise ValueError("video codecs are VP8 and H264")
        return value

    @field_validator("stun_urls", "turn_urls")
    @classmethod
    def _ice_addresses(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        schemes = ("stun", "stuns") if info.field_name == "stun_urls" else ("turn", "turns")
        for url in value:
            # RFC 7064 and 7065; a browser throws at anything else, and then nobody connects.
            if not re.fullmatch(rf"(?:{'|'.join(schemes)}):[^/?#\s]+(?:\?transport=(?:udp|tcp))?", url):
                raise ValueError(f"{url!r} is no address like {schemes[0]}:host:3478")
        return value

    @field_validator("public_address")
    @classmethod
    def _ip_address(cls, value: str) -> str:
        if value:
            ipaddress.ip_address(value)
        return value

    @field_validator("node_address")
    @classmethod
    def _node_address(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^/?#\s]+(?:/[A-Za-z0-9._~-]+)*/?", value):
            raise ValueError(f"{value!r} is no address like https://calls.example.org/nodes/a")
        return value.rstrip("/")

    @field_validator("redis_url")
    @classmethod
    def _redis_address(cls, value: SecretStr) -> SecretStr:
        address = value.get_secret_value()
        if address and not address.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("an address of Redis begins with redis://, rediss:// or unix://")
        return value

    @field_validator("webhook_url")
    @classmethod
    def _http_address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("a webhook's address begins with http:// or https://")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        secret = self.api_secret.get_secret_value()
        if bool(self.api_key) != bool(secret):
            raise ValueError("api_key and api_secret belong together: set both or none")
        if secret and len(secret.encode()) < MINIMUM_SECRET_BYTES:
            raise ValueError(f"api_secret needs at least {MINIMUM_SECRET_BYTES} bytes (openssl rand -hex 32)")
        if not secret and not is_loopback(self.host):
            raise ValueError(
                f"listening on {self.host} needs tokens: set VISAVIS_API_KEY and VISAVIS_API_SECRET "
                "(openssl rand -hex 32), or listen on 127.0.0.1"
            )
        if self.turn_urls and not self.turn_secret.get_secret_value():
            raise ValueError("turn_urls need turn_secret, the secret that the TURN server shares")
        if self.webhook_url and not secret:
            raise ValueError("webhook_url needs api_key and api_secret, which sign what is posted")
        if self.redis_url.get_secret_value() and not (secret and self.node_address):
            raise ValueError("redis_url needs node_address, and api_key and api_secret, the same on all nodes")
        if self.playout_min_ms > self.playout_max_ms:
            raise ValueError("playout_min_ms is above playout_max_ms")
        return self

    @property
    def node_path(self) -> str:
        """Path below which this node is reached as itself, beside the root; empty where it has none."""
        return urlsplit(self.node_address).path

    @property
    def resume_token_seconds(self) -> float:
        """Life of a resume token: renewed after half of `resume_seconds`, it is good so long after its holder went."""
        return 1.5 * self.resume_seconds + self.gone_seconds

    @property
    def takes_private_candidates(self) -> bool:
        """Whether ICE candidates of clients on private networks and on this machine count."""
        return self.development if self.private_candidates is None else self.private_candidates

    @property
    def development(self) -> bool:
        """True without a key: loopback only, and the server mints tokens for its own page."""
        return not self.api_key


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address, IPv6 with or without brackets) reaches this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment; `overrides` that are not None win.

    Raises SettingsError with one line that names the variable and what is wrong with it.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_line(dict(problem)) for problem in error.errors())) from None


def _line(problem: dict[str, Any]) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    location = ".".join(str(part) for part in problem["loc"])
    return f"VISAVIS_{location.upper()}: {message}" if location else message
