"""The nodes' common memory in Redis or Valkey: who lives, how loaded it is, and which room is whose.

Everything that more than one node could do at the same time is one script, and so atomic. Scripts take the time from
Redis: clocks of nodes need not agree. All keys carry one hash tag, `{visavis}`, so that a cluster keeps them together:

    leases        sorted set: node -> when its lease ends, milliseconds
    open          sorted set: node -> score, of the nodes that take new rooms
    node:ID       hash: what the node said of itself
    coming:ID     sorted set: room placed on the node and not yet claimed -> when
    room:NAME     the node that the room lives on
    barred:NAME   set: identities that were removed from the room
    state         hash: `alive`, until when some lease lasts; `settling`, until when no room is opened

A node is the ID of one process: one that starts again under the same name and address is another.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from server.errors import CapacityError, MovedError, NodesUnavailableError
from server.nodes.lease import (
    COMING_SECONDS,
    LEASE_SECONDS,
    ROOM_SECONDS,
    SETTLE_SECONDS,
    Lease,
    Renewal,
    Renewed,
)

ANSWER_SECONDS = 1.0
"""Redis answers in less than a millisecond, or is away."""

MOST_LISTED = 1000

MOST_BURIED = 10
"""Ended leases that one renewal removes."""

BARRED_SECONDS = 24 * 3600.0

ROUTING_KEY = "{visavis}:leases"

REDIS_CLOCK = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)"
"""Lua that sets `now`, milliseconds."""

_RULES = """
local a = cjson.decode(ARGV[1])
local P = '{visavis}:'

local function lives(id)
  local ends = redis.call('ZSCORE', P .. 'leases', id)
  return ends and tonumber(ends) > now
end

local function forget(id)
  redis.call('ZREM', P .. 'leases', id)
  redis.call('ZREM', P .. 'open', id)
  redis.call('DEL', P .. 'node:' .. id, P .. 'coming:' .. id)
end

local function address(id)
  return redis.call('HGET', P .. 'node:' .. id, 'address')
end

-- The living node that has the room. Whoever lived at the asking node's own address before it is dead.
local function owner(room)
  local id = redis.call('GET', P .. 'room:' .. room)
  if id and id ~= a.id and lives(id) and address(id) == a.address then forget(id) end
  if id and lives(id) then return id end
end

-- Of what it can render, what a node has promised and is about to. A room counts as one face at least: whoever opens it
-- is about to show one. One that is still to come counts as much as the node's others do.
local function score(id)
  local node = redis.call('HMGET', P .. 'node:' .. id, 'views', 'rooms', 'capacity')
  local rooms = tonumber(node[2])
  local views = math.max(tonumber(node[1]), rooms)
  local each = rooms > 0 and views / rooms or 1
  return (views + each * redis.call('ZCARD', P .. 'coming:' .. id)) / node[3]
end

-- The least loaded node that takes rooms; the asking one where none has less to do. Never `besides`.
local function least_loaded(besides)
  while true do
    local ended = false
    local best = redis.call('ZRANGE', P .. 'open', 0, 1, 'WITHSCORES')
    for i = 1, #best, 2 do
      local id = best[i]
      if not lives(id) then
        forget(id)
        ended = true
      elseif not ended and id ~= besides then
        local own = a.id ~= besides and redis.call('ZSCORE', P .. 'open', a.id)
        return own and tonumber(own) <= tonumber(best[i + 1]) and lives(a.id) and a.id or id
      end
    end
    if not ended then return nil end
  end
end

local function bar(room, identities)
  for _, identity in ipairs(identities) do redis.call('SADD', P .. 'barred:' .. room, identity) end
  redis.call('PEXPIRE', P .. 'barred:' .. room, a.barred_ms)
end

local function give(room, id)
  redis.call('SET', P .. 'room:' .. room, id, 'PX', a.room_ms)
  redis.call('ZADD', P .. 'coming:' .. id, now, room)
  redis.call('PEXPIRE', P .. 'coming:' .. id, a.room_ms)
  if redis.call('ZSCORE', P .. 'open', id) then redis.call('ZADD', P .. 'open', score(id), id) end
end
"""

_RENEW = """
local known = lives(a.id) and 1 or 0
local state = redis.call('HMGET', P .. 'state', 'alive')
if tonumber(state[1] or 0) <= now then redis.call('HSET', P .. 'state', 'settling', now + a.settle_ms) end
redis.call('HSET', P .. 'state', 'alive', now + a.lease_ms)
redis.call('ZADD', P .. 'leases', now + a.lease_ms, a.id)
redis.call('HSET', P .. 'node:' .. a.id, 'name', a.name, 'address', a.address, 'views', a.views,
  'capacity', a.capacity, 'rooms', a.rooms, 'open', a.open, 'draining', a.draining)
redis.call('PEXPIRE', P .. 'node:' .. a.id, a.room_ms)
redis.call('ZREMRANGEBYSCORE', P .. 'coming:' .. a.id, '-inf', now - a.coming_ms)
local answer = {known}
for _, room in ipairs(a.claims) do
  local id = owner(room)
  redis.call('ZREM', P .. 'coming:' .. a.id, room)
  if id and id ~= a.id then
    table.insert(answer, room)
    table.insert(answer, address(id))
  else
    redis.call('SET', P .. 'room:' .. room, a.id, 'PX', a.room_ms)
  end
end
for _, room in ipairs(a.releases) do
  if redis.call('GET', P .. 'room:' .. room) == a.id then
    redis.call('DEL', P .. 'room:' .. room, P .. 'barred:' .. room)
    redis.call('ZREM', P .. 'coming:' .. a.id, room)
  end
end
for _, removed in ipairs(a.barred) do bar(removed[1], {removed[2]}) end
if a.open == 1 then
  redis.call('ZADD', P .. 'open', score(a.id), a.id)
else
  redis.call('ZREM', P .. 'open', a.id)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases', '-inf', now, 'LIMIT', 0, a.most_buried)) do
  forget(id)
end
return answer
"""

_PLACE = """
local id = owner(a.room)
if not id then
  local state = redis.call('HMGET', P .. 'state', 'alive', 'settling')
  if tonumber(state[1] or 0) <= now or tonumber(state[2] or 0) > now then return {'settling'} end
  id = least_loaded(nil)
  if not id then return {'full'} end
  give(a.room, id)
end
if id ~= a.id then return {'elsewhere', address(id)} end
return {'here', unpack(redis.call('SMEMBERS', P .. 'barred:' .. a.room))}
"""

_LOCATE = """
local id = owner(a.room)
if id and id ~= a.id then return {'elsewhere', address(id)} end
return {'here'}
"""

_HAND_OVER = """
local id = owner(a.room)
if not id or id == a.id then
  id = least_loaded(a.id)
  if not id then return {'full'} end
  bar(a.room, a.barred)
  give(a.room, id)
end
return {'elsewhere', address(id)}
"""

_LIST = """
local answer = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases', '(' .. now, '+inf', 'LIMIT', 0, a.most_listed)) do
  table.insert(answer, redis.call('HMGET', P .. 'node:' .. id,
    'name', 'address', 'views', 'capacity', 'rooms', 'open', 'draining'))
end
return answer
"""

_END = "forget(a.id) return 1"


def connect(url: str) -> Redis:
    """A client that gives up soon; nothing is asked yet."""
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        # What failed is tried again with the next renewal; whoever waits for it is told at once.
        retry=Retry(NoBackoff(), 0),
    )


class RedisRegistry:
    """The registry of one node. Implements `Registry`; use from one event loop.

    `clock` is Lua that sets `now`: a simulation has a clock of its own.
    """

    def __init__(self, redis: Redis, address: str, clock: str = REDIS_CLOCK) -> None:
        self.id = secrets.token_hex(8)
        self._redis = redis
        self._own = {
            "id": self.id,
            "address": address,
            "room_ms": round(1000 * ROOM_SECONDS),
            "barred_ms": round(1000 * BARRED_SECONDS),
        }
        bodies = (("renew", _RENEW), ("place", _PLACE), ("locate", _LOCATE))
        more = (("hand_over", _HAND_OVER), ("list", _LIST), ("end", _END))
        self._scripts = {
            name: self._redis.register_script("\n".join((clock, _RULES, body))) for name, body in (*bodies, *more)
        }
        # One after the other: a room that was given back is placed again in that order.
        self._turn = asyncio.Lock()
        self._failures = 0

    async def renew(self, lease: Lease, renewal: Renewal) -> Renewed:
        """Hold the lease for another while, and claim rooms; those that are elsewhere come back."""
        known, *elsewhere = await self._run(
            "renew",
            name=lease.name,
            views=lease.views,
            capacity=lease.capacity,
            rooms=lease.rooms,
            open=int(lease.open),
            draining=int(lease.draining),
            claims=renewal.claims,
            releases=renewal.releases,
            barred=renewal.barred,
            lease_ms=round(1000 * LEASE_SECONDS),
            settle_ms=round(1000 * SETTLE_SECONDS),
            coming_ms=round(1000 * COMING_SECONDS),
            most_buried=MOST_BURIED,
        )
        return Renewed(bool(known), dict(zip(elsewhere[::2], elsewhere[1::2], strict=True)))

    async def place(self, room: str) -> list[str]:
        """The identities that were removed from a room that is here. Raises MovedError, CapacityError."""
        what, *rest = await self._run("place", room=room)
        if what == "elsewhere":
            raise MovedError(rest[0])
        if what == "settling":
            raise NodesUnavailableError("the nodes are finding each other; try again in a moment")
        if what == "full":
            raise CapacityError("no node takes another room")
        return [str(identity) for identity in rest]

    async def locate(self, room: str) -> None:
        """Return where the room is here or nowhere. Raises MovedError."""
        what, *rest = await self._run("locate", room=room)
        if what == "elsewhere":
            raise MovedError(rest[0])

    async def hand_over(self, room: str, barred: Sequence[str]) -> str | None:
        """Address of the other node that has the room now; None where no other takes it."""
        what, *rest = await self._run("hand_over", room=room, barred=barred)
        return str(rest[0]) if what == "elsewhere" else None

    async def leases(self) -> list[Lease]:
        """Of all nodes that live, a thousand at most."""
        return [
            Lease(name, address, int(views), float(capacity), int(rooms), opened == "1", draining == "1")
            for name, address, views, capacity, rooms, opened, draining in await self._run(
                "list", most_listed=MOST_LISTED
            )
        ]

    async def end(self) -> None:
        """Let the lease end now."""
        await self._run("end")

    async def close(self) -> None:
        """Close the connection; idempotent."""
        await self._redis.aclose()

    async def _run(self, script: str, **arguments: Any) -> Any:
        """Raises NodesUnavailableError."""
        failures = self._failures
        try:
            async with self._turn:
                if self._failures != failures and script != "renew":
                    raise TimeoutError  # what failed for those before fails for all that waited with them
                return await self._scripts[script](keys=[ROUTING_KEY], args=[json.dumps(self._own | arguments)])
        except (RedisError, OSError, TimeoutError) as error:
            self._failures += 1
            # Why is for the log: an address of Redis is nothing for clients.
            raise NodesUnavailableError("the nodes cannot be asked now; try again in a moment") from error
