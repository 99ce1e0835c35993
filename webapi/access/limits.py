"""Rate limits: per account, per address for requests without an account, and separately for passwords."""

import ipaddress

from flask import Flask, g, request
from flask_limiter import Limiter
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from ml.settings import Settings
from webapi.problems import too_many_requests

_UNLIMITED = frozenset({"status.get_status", "status.get_health", "status.get_readiness", "static.get_static"})
# A page shows fifty of them at once.
_UNLIMITED_FOR_ACCOUNTS = frozenset({"photo_files.get_thumbnail", "photo_files.get_known_thumbnail"})
_REDIS_OPTIONS = {"socket_connect_timeout": 1, "socket_timeout": 1}  # seconds


class Throttle:
    """Limits password checks per account and per address. There is one per application.

    Args:
        limiter: its storage is used while it answers; otherwise this process counts for itself.
        settings: have the two rates.
    """

    def __init__(self, limiter: Limiter, settings: Settings) -> None:
        self._limiter = limiter
        self._local = FixedWindowRateLimiter(MemoryStorage())
        self._per_login = parse(settings.login_rate_limit)
        self._per_address = parse(settings.login_rate_limit_per_address)

    def count_login(self, login: str) -> None:
        """Count an attempt to log in, whether the account exists or not.

        Raises: ProblemError, 429.
        """
        self._count(self._per_address, "login-address", address_key())
        self._count(self._per_login, "login-account", login)

    def _count(self, rate: RateLimitItem, *key: str) -> None:
        try:
            is_allowed = self._limiter.limiter.hit(rate, *key)
        except self._limiter.storage.base_exceptions:
            is_allowed = self._local.hit(rate, *key)
        if not is_allowed:
            raise too_many_requests(rate)


def init_app(app: Flask, settings: Settings) -> Throttle:
    """Limit an application's requests. While Redis is down, each process counts for itself."""
    uri = settings.rate_limit_storage.get_secret_value()
    is_redis = uri.startswith("redis")
    limiter = Limiter(
        _key,
        application_limits=[settings.rate_limit],
        storage_uri=uri,
        storage_options=dict(_REDIS_OPTIONS) if is_redis else {},
        in_memory_fallback_enabled=is_redis,
    )
    limiter.request_filter(_is_unlimited)
    limiter.init_app(app)
    return Throttle(limiter, settings)


def address_key() -> str:
    """Return the request's address. For IPv6, return its /64 network, which usually belongs to one subscriber."""
    text = request.remote_addr or "unknown"
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    if isinstance(address, ipaddress.IPv4Address):
        return text
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _is_unlimited() -> bool:
    return request.endpoint in _UNLIMITED or ("account" in g and request.endpoint in _UNLIMITED_FOR_ACCOUNTS)


def _key() -> str:
    return f"account:{g.account.id}" if "account" in g else address_key()
