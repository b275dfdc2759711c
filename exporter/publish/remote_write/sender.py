"""The thread of one target: takes requests from its queue and delivers them in their order, however long it takes."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

import cramjam
import requests

from exporter.config.schema import RemoteWrite
from exporter.publish.remote_write.metrics import WriteMetrics
from exporter.publish.remote_write.queue import Clock, Queue, Request, halves
from exporter.publish.remote_write.target import VERSION_1, VERSION_2, Answer, Kind, Target, kind_of
from exporter.publish.remote_write.version2 import to_version_2

LONGEST_RETRY_AFTER_S = 300.0

_MOST_ATTEMPTS = 64  # for one request that is split again and again; what is left then is sent once, as it is
_FINISHING_PAUSE_S = 0.25
_IDLE_S = 5.0
_TELL_EVERY_S = 60.0
_DOUBLINGS = 30  # of a backoff: beyond, a float overflows long after the limit

log = logging.getLogger(__name__)


class Sender:
    """Delivers a queue. One request is under way at a time, so samples of a series arrive in their order.

    An outage (no answer, 5xx, 429) is waited out with exponential backoff and jitter, Retry-After is honoured up to
    LONGEST_RETRY_AFTER_S, and the queue drops its oldest requests when it overflows meanwhile. A request answered with
    400 is split until the bad samples are alone, and they are dropped; any other 4xx drops it.
    """

    def __init__(
        self,
        config: RemoteWrite,
        session: requests.Session,
        metrics: WriteMetrics,
        clock: Clock = time.time,
        monotonic: Clock = time.monotonic,
    ) -> None:
        self.name = config.name
        self.url = config.url
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self.queue = Queue(config.queue, self._dropped, monotonic)
        self._target = Target(config, session)
        self._session = session
        self._version, self._confirmed = VERSION_1, False
        self._failures = 0
        self._since_s = 0.0  # when the outage began
        self._told_s = -_TELL_EVERY_S
        self._lossy = False
        self._under_way = 0
        self._finishing = threading.Event()
        self._deadline_s = float("inf")
        self._thread = threading.Thread(target=self._run, name=f"remote-write-{config.name}", daemon=True)
        self._negotiate()

    def _negotiate(self) -> None:
        second = self._target.config.message == "io.prometheus.write.v2.Request"
        self._version, self._confirmed = VERSION_2 if second else VERSION_1, False

    @property
    def config(self) -> RemoteWrite:
        """The config in force."""
        return self._target.config

    @property
    def left(self) -> int:
        """Samples not delivered yet, those under way included."""
        return self.queue.samples + self._under_way

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def use(self, config: RemoteWrite, session: requests.Session) -> None:
        """Go by another config of the same receiver from the next attempt on; the queue stays."""
        old, self._session = self._session, session
        self._target = Target(config, session)
        self._negotiate()
        self.queue.use(config.queue)
        old.close()

    def resize(self, config: RemoteWrite) -> None:
        """Go by another config of the queue, which is all that differs."""
        self._target.config = config
        self.queue.use(config.queue)

    def finish(self, deadline_s: float) -> None:
        """Deliver what is left, at most until a moment of the monotonic clock, then end."""
        self._deadline_s = deadline_s
        self._finishing.set()
        self.queue.wake()

    def wait(self) -> int:
        """Until the thread has ended or the deadline of `finish` is over; returns the samples that are left."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, self._deadline_s - self._monotonic()))
        self._session.close()
        return self.left

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_over():
            pause_s = self.step()
            if pause_s is None:
                self.queue.wait(_IDLE_S)
            elif pause_s > 0:
                self._pause(pause_s)

    def _is_over(self) -> bool:
        return self._finishing.is_set() and (self.queue.samples == 0 or self._monotonic() >= self._deadline_s)

    def _pause(self, pause_s: float) -> None:
        if self._finishing.is_set():
            time.sleep(min(pause_s, _FINISHING_PAUSE_S))
        else:
            self._finishing.wait(pause_s)

    def step(self) -> float | None:
        """Deliver one request, or try to; returns the seconds to wait before the next step, None: nothing was there."""
        request = self.queue.take(flush=self._finishing.is_set())
        if request is None:
            return None
        if self._is_too_old(request):
            self._metrics.drop(self.name, "too_old", request.samples)
            return 0.0
        self._under_way = request.samples
        try:
            left, answer = self._deliver(request)
        except Exception:  # a mistake of ours must be seen and counted, and must not end the thread
            log.exception("internal error, please report it", extra={"target": self.name})
            self._metrics.fail(self.name, request.samples)
            return 0.0
        finally:
            self._under_way = 0
        if not left:
            return 0.0
        self.queue.put_back(left)
        return self._next_pause_s(answer)

    def _is_too_old(self, request: Request) -> bool:
        limit_s = self.config.queue.sample_age_limit_s
        return bool(limit_s) and request.newest_ms < (self._clock() - limit_s) * 1000

    def _deliver(self, request: Request) -> tuple[list[Request], Answer]:
        """Send a request, in parts where it has to be; returns the parts that are still to be sent, in their order."""
        parts = [request]
        attempts = 0
        answer = Answer(0)
        while parts:
            part = parts[0]
            answer, kind = self._attempt(part)
            attempts += 1
            if kind is Kind.AGAIN:
                self._metrics.retry(self.name, part.samples)
                break
            if kind is Kind.OLDER:
                self._fall_back(answer)
                continue
            del parts[0]
            if kind is Kind.OK:
                self._succeed(part, answer)
            elif kind is Kind.SPLIT and part.samples > 1 and attempts < _MOST_ATTEMPTS:
                parts[:0] = halves(part)
            else:
                self._lose(part, answer)
            self._under_way = sum(each.samples for each in parts)
        return parts, answer

    def _attempt(self, part: Request) -> tuple[Answer, Kind]:
        body, version = part.body, self._version
        if version == VERSION_2:
            body = bytes(cramjam.snappy.compress_raw(to_version_2(part.raw())))
        start_s = self._monotonic()
        answer = self._target.post(body, version)
        self._metrics.took(self.name, self._monotonic() - start_s)
        retry_429 = self.config.queue.retry_on_http_429
        return answer, kind_of(answer, version, confirmed=self._confirmed, retry_429=retry_429)

    # -- what came of it -----------------------------------------------------------------------------------------------

    def _succeed(self, part: Request, answer: Answer) -> None:
        missing = 0
        if self._version == VERSION_2 and answer.written is not None:
            self._confirmed = True
            missing = max(0, part.samples - answer.written)
        self._metrics.delivered(self.name, part.samples - missing, len(part.body), part.newest_ms, self._clock())
        if missing:
            self._metrics.fail(self.name, missing)
            self._tell("the receiver accepted a request, but says that it has not written all of it", missing, answer)
        if self._failures:
            outage_s = round(self._monotonic() - self._since_s, 1)
            log.info("remote write goes on", extra={"target": self.name, "outage_seconds": outage_s})
        self._failures, self._lossy = 0, False

    def _lose(self, part: Request, answer: Answer) -> None:
        self._metrics.fail(self.name, part.samples)
        self._tell("the receiver refused samples, which are not sent again", part.samples, answer)
        self._failures = 0

    def _fall_back(self, answer: Answer) -> None:
        self._version = VERSION_1
        self._metrics.fall_back(self.name)
        told = {"target": self.name, "status": answer.status}
        log.warning("the receiver does not know remote write 2.0; it gets 1.0 from now on", extra=told)

    def _next_pause_s(self, answer: Answer) -> float:
        """Backoff after one more failure; the first of an outage is told."""
        if self._failures == 0:
            self._since_s = self._monotonic()
            told = {"target": self.name, "status": answer.status, "words": answer.words}
            log.warning("remote write fails; samples wait until the receiver takes them", extra=told)
        self._failures += 1
        queue = self.config.queue
        backoff_s = min(queue.max_backoff_s, queue.min_backoff_s * 2.0 ** min(self._failures - 1, _DOUBLINGS))
        return max(backoff_s * random.uniform(0.5, 1.0), min(answer.wait_s, LONGEST_RETRY_AFTER_S))

    def _tell(self, text: str, samples: int, answer: Answer) -> None:
        """Log a loss, at most once a minute; the counters go on counting."""
        if self._monotonic() - self._told_s >= _TELL_EVERY_S:
            self._told_s = self._monotonic()
            told = {"target": self.name, "samples": samples, "status": answer.status, "words": answer.words}
            log.warning(text, extra=told)

    def _dropped(self, reason: str, samples: int) -> None:
        """The queue has lost its oldest samples."""
        self._metrics.drop(self.name, reason, samples)
        if not self._lossy:
            self._lossy = True
            log.warning("the queue is full, its oldest samples are dropped", extra={"target": self.name})


OpenSession = Callable[[RemoteWrite], requests.Session]
