// @ts-check
/** The WebSocket to the server: requests with answers, events, ping, and reconnecting with back-off. Knows nothing of media. */

/** An answer of type "error", or a request that never got an answer. */
export class RequestError extends Error {
  /**
   * @param {string} code what went wrong, for programs
   * @param {string} message what went wrong, for people
   * @param {string | null} [address] of the node that has the room, where the code is "moved"
   */
  constructor(code, message, address = null) {
    super(message);
    this.name = "RequestError";
    this.code = code;
    this.address = address;
  }
}

/** Requests that wait for their answer: ids, time-outs, one bound on their number. Takes the time; does no input or output. */
export class PendingRequests {
  /**
   * @param {number} limit most requests that may wait at once
   * @param {number} timeoutMs how long one may wait
   */
  constructor(limit = 64, timeoutMs = 20_000) {
    this.limit = limit;
    this.timeoutMs = timeoutMs;
    this.nextId = 1;
    /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void, deadline: number, type: string}>} */
    this.waiting = new Map();
  }

  /**
   * Registers a request and returns the message to send.
   * @param {string} type
   * @param {object} fields
   * @param {number} now milliseconds
   * @param {(answer: any) => void} resolve
   * @param {(error: Error) => void} reject
   */
  open(type, fields, now, resolve, reject) {
    if (this.waiting.size >= this.limit) throw new RequestError("too_many_requests", "Too many requests wait for an answer.");
    const id = this.nextId++;
    this.waiting.set(id, { resolve, reject, deadline: now + this.timeoutMs, type });
    return { ...fields, type, id };
  }

  /**
   * Hands an answer to its request.
   * @param {any} message
   * @returns {boolean} false when the message answers nothing that waits
   */
  settle(message) {
    const request = this.waiting.get(message?.id);
    if (request === undefined || (message.type !== "ok" && message.type !== "error")) return false;
    this.waiting.delete(message.id);
    if (message.type === "ok") request.resolve(message);
    else {
      const address = typeof message.address === "string" ? message.address : null;
      request.reject(new RequestError(String(message.code ?? "unknown"), String(message.message ?? "The server refused."), address));
    }
    return true;
  }

  /**
   * Rejects what has waited too long.
   * @param {number} now milliseconds
   */
  expire(now) {
    for (const [id, request] of this.waiting) {
      if (request.deadline > now) continue;
      this.waiting.delete(id);
      request.reject(new RequestError("timeout", `The server did not answer "${request.type}".`));
    }
  }

  /**
   * Rejects everything, because the socket is gone.
   * @param {Error} error
   */
  failAll(error) {
    const requests = [...this.waiting.values()];
    this.waiting.clear();
    for (const request of requests) request.reject(error);
  }
}

/**
 * Waiting time before a new attempt: doubles from 250 ms up to 8 s, with up to a half of it taken off at random, so that the
 * pages of one room do not all come back in the same instant.
 * @param {number} attempt 0 for the first
 * @param {number} random in [0, 1)
 * @returns {number} milliseconds
 */
export function backoffMs(attempt, random) {
  return Math.min(8000, 250 * 2 ** attempt) * (1 - random / 2);
}

/**
 * Address of the WebSocket that belongs to a page: in the page's own folder, which a proxy may put below a prefix.
 * @param {{protocol: string, host: string, pathname?: string}} location
 * @param {string} token
 */
export function socketAddress(location, token) {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const folder = (location.pathname ?? "/").replace(/[^/]*$/, "");
  return `${scheme}//${location.host}${folder}ws?token=${encodeURIComponent(token)}`;
}

/**
 * The node of a server of several that a message sends the page to. Only one below the page's own origin: a token goes nowhere else,
 * and the page's policy permits no other connection.
 * @param {{origin: string}} page
 * @param {string | null | undefined} address
 * @returns {URL | null} null for any other, and for none
 */
export function nodeAddress(page, address) {
  const node = URL.canParse(address ?? "") ? new URL(/** @type {string} */ (address)) : null;
  if (node?.origin !== page.origin) return null;
  node.pathname = node.pathname.replace(/\/?$/, "/");
  return node;
}

/** Nodes in a row that may send the page on. */
const MOST_MOVES = 4;

/**
 * Opens the socket and joins, at the node that has the room: any other one says which it is.
 * @param {Signalling} signalling
 * @param {Location | URL} page
 * @param {URL | null} node where the room is, if that is known
 * @param {string} token
 * @param {object} fields of the join
 * @returns {Promise<{answer: any, node: URL | null}>} node: that is to be asked from now on, null where there is only one. Rejects with
 *   RequestError; its code is "node_unreachable" where the node that another one named does not answer: it may have died a moment ago
 */
export async function joinRoom(signalling, page, node, token, fields) {
  for (let moves = 0; ; moves++) {
    try {
      await signalling.connect(socketAddress(node ?? page, token));
      const answer = await signalling.request("join", fields);
      // Behind a load balancer the page's address is any node's.
      return { answer, node: nodeAddress(page, answer.node) };
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      if (error.code === "moved" && moves < MOST_MOVES) {
        node = nodeAddress(page, error.address);
        if (node === null) throw new RequestError("elsewhere", "The call is at another address. Load the page from there.");
      } else if (error.code === "unreachable" && node !== null) throw new RequestError("node_unreachable", error.message);
      else throw error;
    }
  }
}

/**
 * Whether the server does not take the token. A browser does not say why a socket did not open; asked without one the same address
 * does.
 * @param {Location | URL} page
 * @param {string} token
 * @returns {Promise<boolean>} false also while the server cannot be reached
 */
export async function refusesToken(page, token) {
  const address = socketAddress(page, token).replace(/^ws/, "http");
  return fetch(address).then(
    (response) => response.status === 401,
    () => false,
  );
}

/** Round trip and clock offset to the server, from the pings with the shortest way (as NTP's clock filter picks them). */
export class ServerClock {
  /** @param {number} keep how many pings are compared */
  constructor(keep = 16) {
    this.keep = keep;
    /** @type {{roundTrip: number, offset: number}[]} */
    this.samples = [];
  }

  /**
   * @param {number} sent own clock, ms
   * @param {number} serverTime the server's clock, ms
   * @param {number} received own clock, ms
   */
  add(sent, serverTime, received) {
    this.samples.push({ roundTrip: received - sent, offset: serverTime - (sent + received) / 2 });
    if (this.samples.length > this.keep) this.samples.shift();
  }

  /** @returns {{roundTrip: number, offset: number} | null} the best sample; offset = server's clock minus own clock, ms */
  best() {
    return this.samples.reduce(
      (best, sample) => (best === null || sample.roundTrip < best.roundTrip ? sample : best),
      /** @type {{roundTrip: number, offset: number} | null} */ (null),
    );
  }
}

const PING_EVERY_MS = 2000;
const SILENCE_MS = 8000;

/**
 * @typedef {object} SignallingEvents
 * @property {(message: any) => void} onEvent a message that is no answer
 * @property {(reason: string) => void} onLost the socket closed, and we did not ask for it
 */

/** One WebSocket at a time. `connect` opens it, `request` asks, `close` ends it. */
export class Signalling {
  /**
   * @param {SignallingEvents} events
   * @param {{open?: (address: string) => WebSocket, now?: () => number}} [edges] the outside world, replaced in tests
   */
  constructor(events, edges = {}) {
    this.events = events;
    this.openSocket = edges.open ?? ((address) => new WebSocket(address));
    this.now = edges.now ?? (() => performance.now());
    this.pending = new PendingRequests();
    this.clock = new ServerClock();
    /** @type {WebSocket | null} */
    this.socket = null;
    this.lastHeard = 0;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.timer = undefined;
  }

  /**
   * Opens the socket; resolves when it is open.
   * @param {string} address
   * @returns {Promise<void>}
   */
  connect(address) {
    this.close();
    const socket = this.openSocket(address);
    this.socket = socket;
    // It may be another server than before, or the same one with another clock.
    this.clock = new ServerClock();
    return new Promise((resolve, reject) => {
      let open = false;
      socket.onopen = () => {
        open = true;
        this.lastHeard = this.now();
        this.timer = setInterval(() => this.#tick(), PING_EVERY_MS);
        resolve();
      };
      socket.onmessage = (event) => this.#receive(event.data);
      socket.onclose = (event) => {
        if (this.socket === socket) this.#drop();
        if (open) this.events.onLost(event.reason || "The connection to the server was lost.");
        else reject(new RequestError("unreachable", "The connection to the server does not open."));
      };
    });
  }

  get connected() {
    return this.socket?.readyState === 1;
  }

  /**
   * Asks the server and waits for its answer.
   * @param {string} type
   * @param {object} [fields]
   * @returns {Promise<any>} rejects with RequestError
   */
  request(type, fields = {}) {
    return new Promise((resolve, reject) => {
      if (!this.connected) throw new RequestError("disconnected", "There is no connection to the server.");
      this.socket?.send(JSON.stringify(this.pending.open(type, fields, this.now(), resolve, reject)));
    });
  }

  /** Closes without calling `onLost`. */
  close() {
    const socket = this.socket;
    this.#drop();
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #drop() {
    clearInterval(this.timer);
    this.socket = null;
    this.pending.failAll(new RequestError("disconnected", "The connection to the server was lost."));
  }

  /** @param {unknown} data */
  #receive(data) {
    this.lastHeard = this.now();
    if (typeof data !== "string") return;
    const message = JSON.parse(data);
    if (!this.pending.settle(message)) this.events.onEvent(message);
  }

  #tick() {
    const now = this.now();
    this.pending.expire(now);
    if (now - this.lastHeard > SILENCE_MS) {
      const socket = this.socket;
      // A dead network never answers the closing handshake, so the loss is reported at once.
      this.close();
      if (socket !== null) this.events.onLost("The server went silent.");
      return;
    }
    this.request("ping", { t: now }).then(
      (answer) => this.clock.add(answer.t, answer.server_t, this.now()),
      () => undefined, // the silence above covers a ping without an answer
    );
  }
}
