/*
 * The model of acknowledged delivery: a network and a crash that do their worst.
 *
 * Modelled: the handshake with its cookie, DATA, ACK with floor and held bits, the receiver's
 * epoch, probing (SYNCING and AWAY are one state here: both send nothing but SYNC), and closing:
 * close() has been called and N datagrams wait.  The receiver may crash once, at any step; its
 * reader and its worker interleave freely.  Each direction loses, duplicates and reorders.
 * Timers fire whenever they like, far too early included.
 *
 * Left out: time itself, windows, congestion and credit (they only delay a send, which the free
 * scheduling covers), keys, checksums and a full work queue (a refused datagram is a lost one),
 * fragments, the spool, further addresses, the age of cookies, eviction of streams, and a sender
 * that gives up at a deadline.
 *
 * Promises, each an assertion or the formula at the end:
 *   P1  the receiver's floor never passes a datagram that no handler has seen;
 *   P2  what the sender lets go of has been handled ("final implies handled");
 *   P3  no datagram reaches the handlers twice in one life of the receiver;
 *   P4  a copy in a second life was counted by the sender beforehand (resent_to_new_receiver);
 *   P5  once the network behaves for good, the sender reaches CLOSED.
 *
 * The macros FAULT_... plant one mistake each; check.py proves that every one of them is found.
 * N datagrams, OUTWARD and INWARD (how many datagrams each direction holds) come from check.py.
 */
#define BIT(seq) (1 << (seq))
#define BELOW(seq) ((1 << (seq)) - 1)

mtype = { SYNC, DATA, CHALLENGE, ACK };

/* A full channel blocks its writer, so that losing is the network's decision alone. */
chan outward = [OUTWARD] of { mtype, byte /* DATA: seq; SYNC: floor */, byte /* SYNC: cookie */ };
chan inward = [INWARD] of { mtype, byte /* epoch */, byte /* ACK: floor */, byte /* ACK: held */ };

/* Ghosts: what truly happened.  Assertions read them, the protocol does not. */
byte handled;             /* by any life of the receiver */
byte handled_in_life;     /* by the present one */
byte counted;             /* in the sender's resent_to_new_receiver */
bool calm, closed;        /* calm: the network has stopped doing harm; nothing crashes any more */

/* The sender.  A cookie stands for the epoch that made it: the secret dies with the process. */
bool open;                /* else SYNCING or AWAY */
byte next, floor, held;   /* held: bits the receiver has, though they are not yet final */
byte epoch, cookie;       /* of the last ACK; of the last CHALLENGE; 0: none yet */
byte met, first, left;    /* bits: have challenged us; which did first; bits: known to be gone */

/* The receiver.  A crash forgets all of this but the number of its life, the epoch. */
byte life = 1, rfloor, received, final;
byte busy;                /* 1 + the datagram whose handlers have run, not yet noted as final */
bool known;               /* the stream has an entry, its address is proven */

inline send_ack() { inward!ACK(life, rfloor, received & ~BELOW(rfloor)) }

#if defined(FAULT_ACK_BEFORE_HANDLING)
#define FINAL(seq) (received & BIT(seq))
#elif defined(FAULT_FLOOR_PASSES_HOLE)
#define FINAL(seq) (final >> (seq))
#else
#define FINAL(seq) (final & BIT(seq))
#endif

inline advance_floor() {
	do :: FINAL(rfloor) -> rfloor++ :: else -> break od;
	assert((BELOW(rfloor) & ~handled) == 0)                                        /* P1 */
}

#ifdef FAULT_ANY_COOKIE
#define PROVEN(shown) (known || shown != 0)
#else
#define PROVEN(shown) (known || shown == life)
#endif

inline receive_sync(from, shown) {
	if
	:: PROVEN(shown) ->                   /* what lies below the sender's floor never comes */
		known = true;
		received = received | BELOW(from);
		final = final | BELOW(from);
		advance_floor();
		send_ack()
	:: else -> inward!CHALLENGE(life, 0, 0)
	fi
}

inline receive_data(seq) {
	if
	:: known ->
		received = received | BIT(seq);       /* a duplicate changes nothing here */
		advance_floor();
		send_ack()
	:: else -> inward!CHALLENGE(life, 0, 0)
	fi
}

active proctype Reader() {
	byte a, b;
end:	do
	:: atomic { nfull(inward) && outward?[SYNC(a, b)] ->
		outward?SYNC(a, b); receive_sync(a, b); a = 0; b = 0 }
	:: atomic { nfull(inward) && outward?[DATA(a, b)] ->
		outward?DATA(a, b); receive_data(a); a = 0; b = 0 }
	od
}

#ifdef FAULT_NO_DEDUPE
#define WAITING(seq) (seq < N && (received & BIT(seq)))
#else
#define WAITING(seq) (seq < N && (received & ~final & BIT(seq)))
#endif

inline handle(seq) {
	assert(!(handled_in_life & BIT(seq)));                                         /* P3 */
	assert(!(handled & BIT(seq)) || (counted & BIT(seq)));                         /* P4 */
	handled_in_life = handled_in_life | BIT(seq);
	handled = handled | BIT(seq);
	busy = seq + 1
}

active proctype Worker() {
end:	do                                    /* any order: a reordering network makes it so */
	:: atomic { !busy && WAITING(0) -> handle(0) }
	:: atomic { !busy && WAITING(1) -> handle(1) }
	:: atomic { !busy && WAITING(2) -> handle(2) }
	:: atomic { busy ->
		final = final | BIT(busy - 1); busy = 0; advance_floor();
		if :: nfull(inward) -> send_ack() :: full(inward) fi }
	od
}

active proctype Crash() {
end:	atomic { !calm -> life = 2; known = false; rfloor = 0; received = 0; final = 0; busy = 0;
		handled_in_life = 0 }
}

#define HAS_LEFT(from) (left & BIT(from))

inline receive_challenge(from) {              /* a process that does not know us, or no longer */
	if
	:: HAS_LEFT(from)
	:: else ->
		if
		:: !(met & BIT(from)) ->
#ifdef FAULT_GIVES_UP_TOO_EARLY
			left = left | met;            /* a late CHALLENGE displaces the living one */
#endif
			if :: first == 0 -> first = from :: else fi;
			met = met | BIT(from);
			counted = counted | (BELOW(next) & ~BELOW(floor))
		:: else
		fi;
		cookie = from;
		open = (open && from == epoch)
	fi
}

inline receive_ack(from, upto, bits) {
	if
	:: (met & BIT(from)) && !HAS_LEFT(from) ->
		if                            /* who challenged before it must be older: gone */
		:: from != first -> left = left | BIT(first)
		:: else
		fi;
#ifndef FAULT_FORGETS_EPOCH
		if :: from != epoch -> held = 0 :: else fi;   /* another process holds nothing */
#endif
		epoch = from;
		assert((BELOW(upto) & ~handled) == 0);                                 /* P2 */
		floor = (upto > floor -> upto : floor);
		held = (held | bits) & ~BELOW(floor);
		open = true
	:: else
	fi
}

#define MISSING(seq) (seq >= floor && seq < next && !(held & BIT(seq)))
#define NOTHING_TO_SEND (!open || (next == N && !MISSING(0) && !MISSING(1) && !MISSING(2)))

active proctype Sender() {
	byte a, b, c;
	do
	:: atomic { inward?CHALLENGE(a, b, c) -> receive_challenge(a); a = 0; b = 0; c = 0 }
	:: atomic { inward?ACK(a, b, c) -> receive_ack(a, b, c); a = 0; b = 0; c = 0 }
	:: atomic { open && next < N && nfull(outward) -> outward!DATA(next, 0); next++ }
	:: atomic { open && MISSING(0) && nfull(outward) -> outward!DATA(0, 0) }
	:: atomic { open && MISSING(1) && nfull(outward) -> outward!DATA(1, 0) }
	:: atomic { open && MISSING(2) && nfull(outward) -> outward!DATA(2, 0) }
	:: atomic { nfull(outward) && floor < N && NOTHING_TO_SEND -> outward!SYNC(floor, cookie) }
	:: atomic { open && !calm -> open = false }            /* too long a silence: AWAY */
	:: atomic { floor == N -> break }
	od;
	assert(handled == BELOW(N));                                                   /* P2 */
	closed = true
}

/* Loses, duplicates or holds back the oldest datagram of a direction, as long as it likes. */
active proctype Network() {
	mtype k; byte a, b, c;
end:	do
	:: atomic { outward?k(a, b) -> k = 0; a = 0; b = 0 }
	:: atomic { inward?k(a, b, c) -> k = 0; a = 0; b = 0; c = 0 }
	:: atomic { nempty(outward) && nfull(outward) ->
		outward?<k(a, b)>; outward!k(a, b); k = 0; a = 0; b = 0 }
	:: atomic { nempty(inward) && nfull(inward) ->
		inward?<k(a, b, c)>; inward!k(a, b, c); k = 0; a = 0; b = 0; c = 0 }
	:: atomic { len(outward) > 1 -> outward?k(a, b); outward!k(a, b); k = 0; a = 0; b = 0 }
	:: atomic { len(inward) > 1 -> inward?k(a, b, c); inward!k(a, b, c); k = 0; a = 0; b = 0; c = 0 }
#ifdef LIVENESS
	:: calm = true -> break
#endif
	od
}

#ifdef LIVENESS
ltl closes { (<> calm) -> (<> closed) }                                                /* P5 */
#endif
