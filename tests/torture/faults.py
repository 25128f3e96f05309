"""What goes wrong: each fault takes its time, and has undone itself when it returns."""

import signal
import time

import psycopg2

from proxy import Point
from world import LEASE_S

TRAP_PATIENCE_S = 6
ENDED = 10  # calls at once


def leader(world, rng):
    """The instance that leads; any, if none does."""
    name = world.leader()
    led = [instance for instance in world.instances if instance.name == name]
    return led[0] if led else pick(world, rng)


def pick(world, rng):
    return rng.choice(world.instances)


def victim(world, rng):
    """One that may end."""
    return rng.choice([each for each in world.instances if each.name not in world.spared])


def kill_daemon(world, rng):
    victim(world, rng).signal(signal.SIGKILL)
    time.sleep(rng.uniform(0, 1))


def stop_daemon(world, rng):
    victim(world, rng).signal(signal.SIGTERM)
    time.sleep(rng.uniform(0, 1))


def freeze_daemon(world, rng):
    instance = pick(world, rng)
    instance.signal(signal.SIGSTOP)
    time.sleep(rng.uniform(0.2, 8))
    instance.signal(signal.SIGCONT)


def kill_at(point, proxy):
    """Kills a daemon at an exact point of its conversation with a server."""

    def fault(world, rng):
        instance = victim(world, rng)
        trapped = getattr(instance, proxy)
        trapped.set_trap(point, rng.randint(0, 6), lambda: instance.signal(signal.SIGKILL))
        trapped.sprung.wait(TRAP_PATIENCE_S)
        trapped.clear_trap()

    return fault


def while_held_at(point, act):
    """A leader's conversations stand still at an exact point while something else happens."""

    def fault(world, rng):
        trapped = leader(world, rng).postgres
        trapped.set_trap(point, rng.randint(0, 4), lambda: None, cut=False)
        if trapped.sprung.wait(TRAP_PATIENCE_S):
            act(world, rng)
        trapped.clear_trap()
        trapped.let_go()

    return fault


def let_time_pass(_world, rng):
    time.sleep(rng.uniform(0.5, 2.5))


def end_calls(world, _rng):
    """By the API: what was due when the leader looked is no longer when it goes on."""
    world.people.rush(ENDED, patience_s=1)


def depose_at(point):
    """A leader stands still at an exact point until another has taken over, and goes on."""

    def fault(world, rng):
        instance = leader(world, rng)
        trapped = instance.postgres
        trapped.set_trap(point, rng.randint(0, 4), lambda: instance.signal(signal.SIGSTOP),
                         cut=False)
        if trapped.sprung.wait(TRAP_PATIENCE_S):
            time.sleep(2 * LEASE_S + rng.uniform(0, 2))
        trapped.clear_trap()
        # What it had sent arrives, and then it goes on.
        trapped.let_go()
        time.sleep(rng.uniform(0, 0.1))
        instance.signal(signal.SIGCONT)

    return fault


def take_a_term(world, _rng):
    """As an instance that takes over, and has died before it did anything: what was due is
    due still when the old leader goes on, as nobody has done it meanwhile."""
    connection = world.connect()
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '6s'")
            # Once the lock is had, so that the moment is later than all of the old term.
            cursor.execute("SELECT FROM saathii_tasks.leadership FOR UPDATE")
            cursor.execute("WITH taken AS (UPDATE saathii_tasks.leadership"
                           " SET term = term + 1, holder = NULL, since = clock_timestamp(),"
                           " renewed_at = clock_timestamp() RETURNING term, since)"
                           " INSERT INTO saathii_tasks.leadership_term (term, instance, since)"
                           " SELECT term, 'usurper', since FROM taken")
    except psycopg2.Error:
        pass  # an effect of the old term held the lock for too long
    finally:
        connection.close()


def lose_network(world, rng):
    """Nothing passes and nothing is refused, for longer than every timeout or shorter."""
    proxies = [pick(world, rng).postgres, pick(world, rng).redis]
    chosen = rng.sample(proxies, rng.randint(1, 2))
    for proxy in chosen:
        proxy.hold()
    time.sleep(rng.uniform(0.2, 9))
    if rng.random() < 0.5:
        for proxy in chosen:
            proxy.cut()
    for proxy in chosen:
        proxy.let_go()


def take_link_down(world, rng):
    """Packets go nowhere: what is sent is not acknowledged, and either side has to find out."""
    network = pick(world, rng).network
    network.vanish()
    time.sleep(rng.uniform(0.2, 9))
    network.come_back()


def refuse_connections(world, rng):
    proxy = getattr(pick(world, rng), rng.choice(["postgres", "redis"]))
    proxy.refuse(True)
    time.sleep(rng.uniform(0.2, 4))
    proxy.refuse(False)


def execute(world, sql):
    connection = world.connect()
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
    finally:
        connection.close()


def terminate_backends(world, rng):
    execute(world, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE usename = 'saathiid'"
                   f" AND pid % {rng.choice([1, 2, 3])} = 0")


def crash_postgres(world, rng):
    world.postgres.stop(signal.SIGQUIT)
    time.sleep(rng.uniform(0, 2))
    world.postgres.start()


def freeze_postgres(world, rng):
    world.postgres.stall()
    time.sleep(rng.uniform(0.2, 9))
    world.postgres.go_on()


def read_only_postgres(world, rng):
    """As a primary that has become a standby: every transaction is refused its writes."""
    execute(world, "ALTER ROLE saathiid SET default_transaction_read_only = on")
    terminate_backends(world, rng)
    time.sleep(rng.uniform(0.5, 4))
    execute(world, "ALTER ROLE saathiid RESET default_transaction_read_only")
    execute(world, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE usename = 'saathiid'")


def fill_disk(world, rng):
    """That of PostgreSQL, and of the daemons' logs. A server that it ends is started again."""
    filler = world.folder / "filler"
    with filler.open("wb") as file:
        try:
            while file.write(bytes(1024 * 1024)):
                file.flush()
        except OSError:
            pass  # it is full now
    time.sleep(rng.uniform(0.5, 5))
    filler.unlink()
    if world.postgres.process.poll() is not None:
        world.postgres.start()


def set_clock(world, rng):
    """Steps a daemon's clock, by seconds to days; it goes on so until the round ends."""
    pick(world, rng).set_clock(rng.choice([-1, 1]) * rng.choice([3, 90, 3700, 90_000, 260_000]))


def freeze_redis(world, rng):
    world.redis.process.send_signal(signal.SIGSTOP)
    time.sleep(rng.uniform(0.2, 6))
    world.redis.process.send_signal(signal.SIGCONT)


def kill_redis(world, rng):
    world.redis.stop()
    time.sleep(rng.uniform(0, 2))
    world.redis.start()


def flush_redis(world, _rng):
    world.redis.command("FLUSHALL")


def read_only_redis(world, rng):
    world.redis.command("CONFIG", "SET", "min-replicas-to-write", "1")
    time.sleep(rng.uniform(0.5, 3))
    world.redis.command("CONFIG", "SET", "min-replicas-to-write", "0")


def reload(world, rng):
    instance = pick(world, rng)
    instance.write_config(batch_size=rng.choice([1, 3, 50, 5000]))
    instance.signal(signal.SIGHUP)


def deadlocks(world, rng):
    """A writer that takes two wallets in an order of its own, and waits with them."""
    connection = world.connect()
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET deadlock_timeout = '50ms'; SET lock_timeout = '2s'")
            cursor.execute("SELECT user_id FROM user_calls WHERE status = 'ongoing'"
                           " ORDER BY user_id DESC")
            callers = [row[0] for row in cursor.fetchall()]
            for user_id in rng.sample(callers, min(4, len(callers))):
                cursor.execute("UPDATE user_wallets SET updated_at = now() WHERE user_id = %s",
                               (user_id,))
                cursor.execute("UPDATE user_calls SET updated_at = now()"
                               " WHERE user_id = %s AND status = 'ongoing'", (user_id,))
                time.sleep(rng.uniform(0, 0.4))
    except psycopg2.Error:
        pass  # it was the victim
    finally:
        connection.close()


FAULTS = {
    "kill": kill_daemon,
    "kill-before-commit": kill_at(Point.BEFORE_COMMIT, "postgres"),
    "kill-after-commit": kill_at(Point.AFTER_COMMIT, "postgres"),
    "kill-before-redis": kill_at(Point.BEFORE_REQUEST, "redis"),
    "stop": stop_daemon,
    "freeze": freeze_daemon,
    "stall-before-begin": while_held_at(Point.BEFORE_BEGIN, let_time_pass),
    "stall-before-commit": while_held_at(Point.BEFORE_COMMIT, let_time_pass),
    "end-before-begin": while_held_at(Point.BEFORE_BEGIN, end_calls),
    "end-before-commit": while_held_at(Point.BEFORE_COMMIT, end_calls),
    "depose-before-begin": depose_at(Point.BEFORE_BEGIN),
    "depose-before-commit": depose_at(Point.BEFORE_COMMIT),
    "usurp-before-begin": while_held_at(Point.BEFORE_BEGIN, take_a_term),
    "usurp-before-commit": while_held_at(Point.BEFORE_COMMIT, take_a_term),
    "network-down": take_link_down,
    "network-lost": lose_network,
    "network-refused": refuse_connections,
    "postgres-terminate": terminate_backends,
    "postgres-crash": crash_postgres,
    "postgres-freeze": freeze_postgres,
    "postgres-read-only": read_only_postgres,
    "disk-full": fill_disk,
    "clock": set_clock,
    "redis-freeze": freeze_redis,
    "redis-kill": kill_redis,
    "redis-flush": flush_redis,
    "redis-read-only": read_only_redis,
    "reload": reload,
    "deadlocks": deadlocks,
}
