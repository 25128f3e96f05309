-- The ten invariants, asked of the tables. Nothing here is shared with the jobs.
-- A check looks at calls, wallets or users after $1 up to $2, in which it is
-- sliced, and returns what is wrong: invariant, kind, call, user, what was
-- expected and what was found, and how much there is of it in the slice, of which
-- only the first rows come. Rows of invariant 0 tell what was looked at.

-- name: scope
-- $1 as of when, or NULL: now. $2 grace. $3 charge_retention. $4 since when, or
-- NULL. $5 the job that charges.
--
-- now; what started before "since" may have been pruned, or be older than
-- saathiid; minutes that started until "charged_until" must be charged, because
-- a run that succeeded began after them. When it began is told by the daemon's
-- clock and, from when its outcome was recorded, by this one: the earlier counts.
WITH moment AS (SELECT coalesce($1::timestamptz, clock_timestamp()) AS now),
run AS (
  SELECT least(started_at, recorded_at - (finished_at - started_at)) AS began
    FROM saathii_tasks.job_run
   WHERE job = $5::text AND outcome = 'succeeded' AND as_of IS NULL AND started_at IS NOT NULL
   ORDER BY scheduled_at DESC
   LIMIT 1)
SELECT (extract(epoch FROM now) * 1000000)::bigint,
       (extract(epoch FROM greatest(now - $3::interval, first.charged_at, $4::timestamptz))
        * 1000000)::bigint,
       (extract(epoch FROM least(now - $2::interval,
                                 (SELECT began - interval '5 seconds' FROM run)))
        * 1000000)::bigint,
       (SELECT (extract(epoch FROM began) * 1000000)::bigint FROM run),
       (SELECT (extract(epoch FROM taken_at) * 1000000)::bigint
          FROM saathii_tasks.audit_baseline WHERE wallet_id = 0),
       first.charged_at IS NULL AS is_empty
  FROM moment
 CROSS JOIN (SELECT min(charged_at) AS charged_at FROM saathii_tasks.call_charge) AS first

-- name: sizes
-- About how many rows there are, for the progress alone.
SELECT greatest(0, (SELECT reltuples FROM pg_class WHERE oid = 'public.user_calls'::regclass)),
       greatest(0, (SELECT reltuples FROM pg_class
                     WHERE oid = 'saathii_tasks.call_charge'::regclass)),
       greatest(0, (SELECT reltuples FROM pg_class
                     WHERE oid = 'public.user_transactions'::regclass)),
       greatest(0, (SELECT reltuples FROM pg_class WHERE oid = 'public.user_status'::regclass))

-- name: next_calls
-- $1 after this call, $2 so many: the last of them; none if there are no more.
SELECT call_id, (SELECT max(call_id) FROM public.user_calls)
  FROM public.user_calls WHERE call_id > $1::int ORDER BY call_id OFFSET $2::int - 1 LIMIT 1

-- name: next_wallets
-- The same of wallets.
SELECT wallet_id, (SELECT max(wallet_id) FROM public.user_wallets)
  FROM public.user_wallets WHERE wallet_id > $1::int ORDER BY wallet_id OFFSET $2::int - 1 LIMIT 1

-- name: next_statuses
-- The same of users with a status.
SELECT user_id, (SELECT max(user_id) FROM public.user_status)
  FROM public.user_status WHERE user_id > $1::int ORDER BY user_id OFFSET $2::int - 1 LIMIT 1

-- name: unique_key
-- What makes a second charge of a minute impossible is there.
SELECT 1 AS invariant, 'no_unique_key' AS kind, NULL::bigint AS call_id, NULL::bigint AS user_id,
       'a unique index on call_charge (call_id, minute)' AS expected, 'none' AS found,
       1::bigint AS total
 WHERE NOT EXISTS (
         SELECT FROM pg_index AS i
          WHERE i.indrelid = 'saathii_tasks.call_charge'::regclass AND i.indisunique
            AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
            AND (SELECT array_agg(a.attname::text ORDER BY a.attname)
                   FROM pg_attribute AS a
                  WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[]))
                = '{call_id,minute}')

-- name: duplicates
-- $3 limit.
SELECT 1 AS invariant, 'charged_twice' AS kind, twice.call_id::bigint, c.user_id::bigint,
       'minute ' || minute || ' once' AS expected, times || ' times' AS found,
       count(*) OVER () AS total
  FROM (SELECT call_id, minute, count(*) AS times
          FROM saathii_tasks.call_charge
         WHERE call_id > $1::int AND call_id <= $2::int
         GROUP BY call_id, minute
        HAVING count(*) > 1) AS twice
  LEFT JOIN public.user_calls AS c ON c.call_id = twice.call_id
 ORDER BY twice.call_id, minute
 LIMIT $3::bigint

-- name: ledger
-- $3 now. $4 what started until then must be charged. $5 ended calls that started
-- before are not looked at. $6 the job that charges. $7 limit.
--
-- An ongoing call is charged up to $4, or to when its parties were last seen: a
-- silent one is held. A call that the API ended is charged up to the last run
-- that had succeeded before, unless that held some call: which, nobody knows.
WITH minute_line AS MATERIALIZED (
  SELECT length, valid_from,
         coalesce(lead(valid_from) OVER (ORDER BY valid_from), 'infinity') AS valid_to
    FROM saathii_tasks.minute_length),
rate_line AS MATERIALIZED (
  SELECT call_type, coins, valid_from,
         coalesce(lead(valid_from) OVER (PARTITION BY call_type ORDER BY valid_from), 'infinity')
           AS valid_to
    FROM saathii_tasks.coin_rate),
watched AS MATERIALIZED (
  SELECT c.call_id, c.user_id, c.listener_id, c.call_type, c.start_time,
         c.status = 'ongoing' AS is_ongoing,
         CASE WHEN c.status <> 'ongoing' THEN c.end_time END AS end_time,
         coalesce(c.coins_spent, 0) AS coins_spent, m.length
    FROM public.user_calls AS c
    JOIN minute_line AS m ON c.start_time >= m.valid_from AND c.start_time < m.valid_to
   WHERE c.call_id > $1::int AND c.call_id <= $2::int AND isfinite(c.start_time)
     AND (c.status = 'ongoing' OR c.start_time >= $5::timestamptz)),
charged AS MATERIALIZED (
  SELECT h.call_id, count(*) AS charges, max(h.minute) AS last,
         count(*) FILTER (WHERE h.refunded_at IS NULL) AS kept,
         coalesce(max(h.minute) FILTER (WHERE h.refunded_at IS NULL), 0) AS last_kept,
         coalesce(sum(h.coins) FILTER (WHERE h.refunded_at IS NULL), 0) AS coins,
         count(*) FILTER (WHERE h.refunded_at IS NULL AND h.minute_start > w.end_time) AS late,
         min(h.minute) FILTER (WHERE h.refunded_at IS NULL AND h.minute_start > w.end_time)
           AS first_late,
         count(*) FILTER (WHERE h.source <> 'api' AND h.minute_start > $3::timestamptz) AS early,
         count(*) FILTER (WHERE h.minute_start <> w.start_time + (h.minute - 1) * w.length)
           AS misplaced,
         min(h.balance_after) AS lowest
    FROM saathii_tasks.call_charge AS h
    JOIN watched AS w ON w.call_id = h.call_id
   WHERE h.call_id > $1::int AND h.call_id <= $2::int
   GROUP BY h.call_id),
unfinished AS MATERIALIZED (
  SELECT w.call_id, w.user_id, w.listener_id, w.start_time, w.end_time, w.is_ongoing, w.length,
         coalesce(charged.last,
                  CASE WHEN w.coins_spent > 0 THEN greatest(1, w.coins_spent / rate.coins)
                       ELSE 0 END) AS paid
    FROM watched AS w
    JOIN rate_line AS rate ON rate.call_type = w.call_type
                          AND w.start_time >= rate.valid_from AND w.start_time < rate.valid_to
    LEFT JOIN charged ON charged.call_id = w.call_id
   WHERE w.start_time + coalesce(charged.last, 0) * w.length
         <= CASE WHEN w.is_ongoing THEN $4::timestamptz ELSE w.end_time END
     AND NOT EXISTS (SELECT FROM saathii_tasks.call_settlement AS s WHERE s.call_id = w.call_id)),
reach AS MATERIALIZED (
  SELECT u.call_id, u.user_id, u.paid,
         floor(extract(epoch FROM until.moment - u.start_time)
               / extract(epoch FROM u.length))::bigint + 1 AS due, until.moment
    FROM unfinished AS u
   CROSS JOIN LATERAL (
         SELECT least($4::timestamptz, greatest(u.start_time, caller.last_seen,
                                                listener.last_seen)) AS moment
           FROM (SELECT u.user_id, u.listener_id) AS party
           LEFT JOIN public.user_status AS caller ON caller.user_id = party.user_id
           LEFT JOIN public.user_status AS listener ON listener.user_id = party.listener_id
          WHERE u.is_ongoing
          UNION ALL
         (SELECT least(run.started_at, run.recorded_at - (run.finished_at - run.started_at))
                 - interval '5 seconds'
            FROM saathii_tasks.job_run AS run
           WHERE NOT u.is_ongoing AND run.job = $6::text
             AND run.scheduled_at >= u.start_time AND run.scheduled_at <= u.end_time
             AND run.recorded_at <= u.end_time - interval '5 seconds'
             AND run.outcome = 'succeeded' AND run.as_of IS NULL AND run.started_at IS NOT NULL
             AND coalesce(run.counts ->> 'held', '0') = '0'
           ORDER BY run.scheduled_at DESC
           LIMIT 1)) AS until
   WHERE until.moment >= u.start_time),
found AS (
  SELECT 2 AS invariant, 'gap' AS kind, w.call_id, w.user_id,
         'minutes 1 to ' || last || ', given back ones last' AS expected,
         charges || ' minutes, ' || kept || ' kept up to minute ' || last_kept AS found
    FROM charged JOIN watched AS w USING (call_id)
   WHERE charges <> last OR kept <> last_kept
  UNION ALL
  SELECT 2, 'misplaced', w.call_id, w.user_id,
         'minutes of ' || w.length || ' from ' || w.start_time,
         misplaced || ' start at another moment'
    FROM charged JOIN watched AS w USING (call_id)
   WHERE misplaced > 0
  UNION ALL
  SELECT 2, 'early', w.call_id, w.user_id, 'no minute before it has started',
         early || ' charged ahead'
    FROM charged JOIN watched AS w USING (call_id)
   WHERE early > 0
  UNION ALL
  SELECT 2, 'behind', call_id, user_id, due || ' minutes had started by ' || moment,
         paid || ' charged'
    FROM reach
   WHERE paid < due
  UNION ALL
  SELECT 4, 'coins_spent', w.call_id, w.user_id, 'coins_spent ' || coins,
         w.coins_spent::text
    FROM charged JOIN watched AS w USING (call_id)
   WHERE w.coins_spent <> coins
  UNION ALL
  SELECT 5, 'fell_below', w.call_id, w.user_id, 'no balance below 0',
         lowest || ' after a minute of this call'
    FROM charged JOIN watched AS w USING (call_id)
   WHERE lowest < 0
  UNION ALL
  SELECT 6, 'after_end', w.call_id, w.user_id, 'no minute after the end at ' || w.end_time,
         late || ' charged, from minute ' || first_late
    FROM charged JOIN watched AS w USING (call_id)
   WHERE late > 0)
SELECT invariant, kind, call_id::bigint, user_id::bigint, expected, found, total
  FROM (SELECT *, count(*) OVER (PARTITION BY invariant, kind) AS total,
               row_number() OVER (PARTITION BY invariant, kind ORDER BY call_id) AS place
          FROM found) AS ranked
 WHERE place <= $7::bigint
UNION ALL
SELECT 0, 'calls', NULL, NULL, NULL, NULL, count(*) FROM watched
UNION ALL
SELECT 0, 'charges', NULL, NULL, NULL, NULL, coalesce(sum(charges), 0)::bigint FROM charged

-- name: settlements
-- $3 settlements of calls that started before are not looked at. $4 time zone.
-- $5, $6 the basic badge's rupees a minute, audio and video. $7 limit.
--
-- A caller could have paid whose balance after the last minute covered the next,
-- unless another call of theirs ran beside it. What the listener earned is only
-- told from badges that were there when the call was settled.
WITH minute_line AS MATERIALIZED (
  SELECT length, valid_from,
         coalesce(lead(valid_from) OVER (ORDER BY valid_from), 'infinity') AS valid_to
    FROM saathii_tasks.minute_length),
rate_line AS MATERIALIZED (
  SELECT call_type, coins, valid_from,
         coalesce(lead(valid_from) OVER (PARTITION BY call_type ORDER BY valid_from), 'infinity')
           AS valid_to
    FROM saathii_tasks.coin_rate),
settled AS MATERIALIZED (
  SELECT s.call_id, s.user_id, s.listener_id, s.reason, s.end_time, s.minutes, s.coins, s.earned,
         s.settled_at, c.call_type, c.start_time, c.status, c.end_time AS row_end,
         coalesce(c.listener_money_earned, 0) AS money_earned, m.length,
         c.status IS DISTINCT FROM 'dropped' OR c.end_time IS DISTINCT FROM s.end_time AS differs
    FROM saathii_tasks.call_settlement AS s
    JOIN public.user_calls AS c ON c.call_id = s.call_id
    JOIN minute_line AS m ON c.start_time >= m.valid_from AND c.start_time < m.valid_to
   WHERE s.call_id > $1::int AND s.call_id <= $2::int AND c.start_time >= $3::timestamptz),
paid AS MATERIALIZED (
  SELECT s.call_id, count(*) AS kept, count(*) FILTER (WHERE h.source <> 'waived') AS minutes,
         sum(h.coins) AS coins,
         sum(CASE WHEN h.source = 'waived' THEN 0
                  WHEN s.call_type = 'video' THEN coalesce(b.video_rate_per_minute, $6::numeric)
                  ELSE coalesce(b.audio_rate_per_minute, $5::numeric) END)::numeric(12,2)
           AS earned,
         coalesce(bool_or(greatest(b.created_at, b.updated_at, b.assigned_at)
                          > s.settled_at - interval '5 seconds'), false) AS badge_is_newer
    FROM settled AS s
    JOIN saathii_tasks.call_charge AS h ON h.call_id = s.call_id AND h.refunded_at IS NULL
    LEFT JOIN public.listener_badges AS b
      ON b.listener_id = s.listener_id AND b.date = (h.minute_start AT TIME ZONE $4::text)::date
   GROUP BY s.call_id),
judged AS MATERIALIZED (
  SELECT s.*, next.start AS next_start,
         coalesce(paid.kept, 0) AS kept, coalesce(paid.minutes, 0) AS paid_minutes,
         coalesce(paid.coins, 0) AS paid_coins, coalesce(paid.earned, 0) AS paid_earned,
         coalesce(paid.badge_is_newer, false) AS badge_is_newer,
         last.balance_after, rate.coins AS next_coins,
         ceil(extract(epoch FROM s.end_time - s.start_time) / extract(epoch FROM s.length))
           AS due,
         s.differs AND s.status <> 'ongoing'
           AND abs(extract(epoch FROM s.row_end - s.settled_at)) <= 60 AS ended_by_both,
         CASE WHEN last.balance_after >= rate.coins
              THEN NOT EXISTS (SELECT FROM public.user_calls AS other
                                WHERE other.user_id = s.user_id AND other.call_id <> s.call_id
                                  AND other.start_time <= s.end_time
                                  AND coalesce(other.end_time, 'infinity') >= s.start_time)
              ELSE false END AS could_pay
    FROM settled AS s
    LEFT JOIN paid ON paid.call_id = s.call_id
   CROSS JOIN LATERAL (SELECT s.start_time + coalesce(paid.kept, 0) * s.length AS start) AS next
    LEFT JOIN LATERAL (SELECT h.balance_after FROM saathii_tasks.call_charge AS h
                        WHERE h.call_id = s.call_id AND h.minute = paid.kept LIMIT 1)
           AS last ON true
    LEFT JOIN rate_line AS rate ON rate.call_type = s.call_type
                               AND next.start >= rate.valid_from AND next.start < rate.valid_to),
found AS (
  SELECT 2 AS invariant, 'behind' AS kind, call_id, user_id,
         due || ' minutes had started by the end, and could be paid' AS expected,
         kept || ' charged' AS found
    FROM judged
   WHERE kept < due AND could_pay AND reason NOT IN ('balance', 'overdue')
  UNION ALL
  SELECT 7, 'reason', call_id, user_id, 'a reason by which saathiid ends calls', reason
    FROM judged
   WHERE reason NOT IN ('balance', 'not_seen', 'overdue', 'no_wait_time', 'repaired')
  UNION ALL
  SELECT 7, 'could_pay', call_id, user_id, 'a balance below ' || next_coins || ' (' || reason || ')',
         balance_after || ' after minute ' || kept
    FROM judged
   WHERE reason IN ('balance', 'overdue') AND could_pay
  UNION ALL
  SELECT 7, 'too_early', call_id, user_id,
         'an end from ' || next_start || ' on, when minute ' || kept + 1 || ' starts',
         end_time::text
    FROM judged
   WHERE reason IN ('balance', 'overdue') AND next_start > end_time
  UNION ALL
  SELECT 7, 'was_seen', call_id, user_id, 'nobody seen for a minute or more',
         'seen ' || settled_at - end_time || ' before'
    FROM judged
   WHERE reason = 'not_seen' AND settled_at >= end_time
     AND settled_at - end_time < interval '1 minute'
  UNION ALL
  SELECT 8, CASE WHEN ended_by_both THEN 'ended_by_both' ELSE 'differs' END, call_id, user_id,
         'dropped at ' || end_time,
         coalesce(status, 'no status') || coalesce(' at ' || row_end, ', no end')
    FROM judged
   WHERE differs
  UNION ALL
  SELECT 8, 'paid', call_id, user_id,
         paid_minutes || ' minutes, ' || paid_coins || ' coins, as the ledger has it',
         'settled ' || minutes || ' minutes, ' || coins || ' coins'
    FROM judged
   WHERE minutes <> paid_minutes OR coins <> paid_coins
  UNION ALL
  SELECT 8, 'earned', call_id, user_id, paid_earned || ' earned', earned::text
    FROM judged
   WHERE earned <> paid_earned AND NOT badge_is_newer AND minutes = paid_minutes
  UNION ALL
  SELECT 8, 'money_earned', call_id, user_id, 'listener_money_earned ' || floor(earned),
         money_earned::text
    FROM judged
   WHERE NOT differs AND money_earned <> floor(earned))
SELECT invariant, kind, call_id::bigint, user_id::bigint, expected, found, total
  FROM (SELECT *, count(*) OVER (PARTITION BY invariant, kind) AS total,
               row_number() OVER (PARTITION BY invariant, kind ORDER BY call_id) AS place
          FROM found) AS ranked
 WHERE place <= $7::bigint
UNION ALL
SELECT 0, 'settlements', NULL, NULL, NULL, NULL, count(*) FROM judged

-- name: unsettled
-- $3 calls that started before are not looked at. $4 time zone. $5, $6 the basic
-- badge's rupees a minute, audio and video. $7 nor those that ended since. $8 limit.
--
-- The API says what a listener earned when it ends a call; a call that saathiid
-- ended has its settlement. One with neither was paid for, and nobody earned it.
WITH ended AS MATERIALIZED (
  SELECT c.call_id, c.listener_id, c.call_type, c.status
    FROM public.user_calls AS c
   WHERE c.call_id > $1::int AND c.call_id <= $2::int AND c.start_time >= $3::timestamptz
     AND c.status IN ('completed', 'dropped') AND c.end_time < $7::timestamptz
     AND c.listener_id IS NOT NULL AND coalesce(c.listener_money_earned, 0) = 0
     AND NOT EXISTS (SELECT FROM saathii_tasks.call_settlement AS s WHERE s.call_id = c.call_id)),
earning AS (
  SELECT e.call_id, e.listener_id, e.status, count(*) AS minutes,
         sum(CASE WHEN e.call_type = 'video' THEN coalesce(b.video_rate_per_minute, $6::numeric)
                  ELSE coalesce(b.audio_rate_per_minute, $5::numeric) END)::numeric(12,2)
           AS earned
    FROM ended AS e
    JOIN saathii_tasks.call_charge AS h
      ON h.call_id = e.call_id AND h.refunded_at IS NULL AND h.source <> 'waived'
    LEFT JOIN public.listener_badges AS b
      ON b.listener_id = e.listener_id AND b.date = (h.minute_start AT TIME ZONE $4::text)::date
   GROUP BY e.call_id, e.listener_id, e.status)
SELECT 8 AS invariant, CASE status WHEN 'dropped' THEN 'unsettled' ELSE 'nothing_earned' END AS kind,
       call_id::bigint, listener_id::bigint AS user_id,
       earned || ' earned by ' || minutes || ' minutes' AS expected,
       'no settlement, and listener_money_earned 0 (' || status || ')' AS found,
       count(*) OVER (PARTITION BY status) AS total
  FROM earning
 WHERE earned >= 1
 ORDER BY call_id
 LIMIT $8::bigint

-- name: wallets
-- $3 whether there is a baseline. $4 whether earnings are credited as coins. $5 limit.
-- $6 what calls that started before have cost is not asked for.
--
-- The platform has no index by which the transactions of a wallet are found: a
-- slice reads all of them once. Coins were spent before $6, and the API pays
-- earnings that saathiid's ledger knows nothing of: there may be more of both,
-- never less.
WITH wallet AS MATERIALIZED (
  SELECT w.wallet_id, w.user_id, coalesce(w.balance_coins, 0) AS coins,
         coalesce(w.withdrawable_money, 0) AS money
    FROM public.user_wallets AS w
   WHERE w.wallet_id > $1::int AND w.wallet_id <= $2::int),
moved AS MATERIALIZED (
  SELECT t.wallet_id, count(*) AS transactions, coalesce(sum(t.coins_change), 0) AS coins,
         coalesce(sum(t.money_change), 0) AS money,
         coalesce(-sum(t.coins_change) FILTER (WHERE t.tx_type = 'spend' AND t.coins_change < 0), 0)
           AS spent,
         coalesce(sum(t.coins_change) FILTER (WHERE t.tx_type = 'spend' AND t.coins_change > 0), 0)
           AS returned,
         coalesce(sum(t.money_change) FILTER (WHERE t.tx_type = 'earn'), 0) AS earned_money,
         coalesce(sum(t.coins_change) FILTER (WHERE t.tx_type = 'earn'), 0) AS earned_coins
    FROM public.user_transactions AS t
   WHERE t.wallet_id > $1::int AND t.wallet_id <= $2::int
   GROUP BY t.wallet_id),
cost AS MATERIALIZED (
  SELECT c.user_id, coalesce(sum(c.coins_spent), 0) AS coins
    FROM public.user_calls AS c
   WHERE c.start_time >= $6::timestamptz AND c.user_id IN (SELECT user_id FROM wallet)
   GROUP BY c.user_id),
back AS MATERIALIZED (
  SELECT h.user_id, sum(h.coins) AS coins
    FROM saathii_tasks.call_charge AS h
   WHERE h.refunded_at IS NOT NULL AND h.user_id IN (SELECT user_id FROM wallet)
   GROUP BY h.user_id),
settled AS MATERIALIZED (
  SELECT s.listener_id, sum(s.earned) AS earned, sum(floor(s.earned)) AS whole
    FROM saathii_tasks.call_settlement AS s
   WHERE s.listener_id IN (SELECT user_id FROM wallet)
   GROUP BY s.listener_id),
judged AS MATERIALIZED (
  SELECT w.wallet_id, w.user_id, w.coins, w.money,
         coalesce(b.coins, 0) + coalesce(m.coins, 0) AS sum_coins,
         coalesce(b.money, 0) + coalesce(m.money, 0) AS sum_money,
         coalesce(m.spent, 0) AS spent, coalesce(m.returned, 0) AS returned,
         coalesce(m.earned_money, 0) + coalesce(m.earned_coins, 0) AS earned,
         coalesce(c.coins, 0) + coalesce(back.coins, 0) AS charged,
         coalesce(back.coins, 0) AS given_back,
         coalesce(CASE WHEN $4::bool OR m.earned_coins > 0 THEN s.whole ELSE s.earned END, 0)
           AS settled
    FROM wallet AS w
    LEFT JOIN moved AS m ON m.wallet_id = w.wallet_id
    LEFT JOIN saathii_tasks.audit_baseline AS b ON b.wallet_id = w.wallet_id
    LEFT JOIN cost AS c ON c.user_id = w.user_id
    LEFT JOIN back ON back.user_id = w.user_id
    LEFT JOIN settled AS s ON s.listener_id = w.user_id),
found AS (
  SELECT 3 AS invariant, 'sum' AS kind, wallet_id, user_id,
         sum_coins || ' coins, ' || sum_money || ' rupees, by its transactions' AS expected,
         coins || ' coins, ' || money || ' rupees in the wallet' AS found
    FROM judged
   WHERE $3::bool AND (coins <> sum_coins OR money <> sum_money)
  UNION ALL
  SELECT 3,
         -- The wallet was charged, only its transaction is missing: proved by the baseline.
         CASE WHEN $3::bool AND coins - sum_coins = spent - charged THEN 'spend_missing'
              ELSE 'charge_without_spend' END,
         wallet_id, user_id, charged || ' coins spent on calls',
         spent || ' by its transactions'
    FROM judged
   WHERE spent < charged
  UNION ALL
  SELECT 3, 'refund_missing', wallet_id, user_id, given_back || ' coins given back',
         returned || ' by its transactions'
    FROM judged
   WHERE returned < given_back
  UNION ALL
  SELECT 5, 'below_zero', wallet_id, user_id, 'nothing below 0',
         coins || ' coins, ' || money || ' rupees'
    FROM judged
   WHERE coins < 0 OR money < 0
  UNION ALL
  SELECT 8, 'credit_missing', wallet_id, user_id, settled || ' credited, as settled',
         earned || ' by its transactions'
    FROM judged
   WHERE earned < settled)
SELECT invariant, kind, NULL::bigint AS call_id, user_id::bigint, expected, found, total
  FROM (SELECT *, count(*) OVER (PARTITION BY invariant, kind) AS total,
               row_number() OVER (PARTITION BY invariant, kind ORDER BY wallet_id) AS place
          FROM found) AS ranked
 WHERE place <= $5::bigint
UNION ALL
SELECT 0, 'wallets', NULL, NULL, NULL, NULL, count(*) FROM judged
UNION ALL
SELECT 0, 'transactions', NULL, NULL, NULL, NULL, coalesce(sum(transactions), 0)::bigint FROM moved

-- name: statuses
-- $3 what began since then is in flight. $4 limit. Who is busy without a call,
-- since the end of the latest one; without any, since the row was written.
WITH talking AS MATERIALIZED (
  SELECT unnest(ARRAY[user_id, listener_id]) AS user_id
    FROM public.user_calls
   WHERE status = 'ongoing'),
found AS (
  SELECT s.user_id, since.moment
    FROM public.user_status AS s
   CROSS JOIN LATERAL (
         SELECT coalesce(greatest((SELECT max(c.end_time) FROM public.user_calls AS c
                                    WHERE c.user_id = s.user_id),
                                  (SELECT max(c.end_time) FROM public.user_calls AS c
                                    WHERE c.listener_id = s.user_id)),
                         s.updated_at, '-infinity') AS moment) AS since
   WHERE s.user_id > $1::int AND s.user_id <= $2::int AND s.is_busy
     AND NOT EXISTS (SELECT FROM talking WHERE talking.user_id = s.user_id)
     AND since.moment < $3::timestamptz)
(SELECT 9 AS invariant, 'busy_without_call' AS kind, NULL::bigint AS call_id, user_id::bigint,
        'not busy' AS expected, 'busy without a call since ' || moment AS found,
        count(*) OVER () AS total
   FROM found
  ORDER BY user_id
  LIMIT $4::bigint)
UNION ALL
SELECT 0, 'statuses', NULL, NULL, NULL, NULL, count(*)
  FROM public.user_status AS s
 WHERE s.user_id > $1::int AND s.user_id <= $2::int

-- name: not_busy
-- $1 what began since then is in flight. $2 limit. Parties of ongoing calls who
-- are not busy; the API clears the flag of who ends one of several calls.
SELECT 9 AS invariant, 'call_without_busy' AS kind, c.call_id::bigint, s.user_id::bigint,
       'busy' AS expected, 'not busy' AS found, count(*) OVER () AS total
  FROM public.user_calls AS c
 CROSS JOIN LATERAL (VALUES (c.user_id), (c.listener_id)) AS party (user_id)
  JOIN public.user_status AS s ON s.user_id = party.user_id
 WHERE c.status = 'ongoing' AND c.start_time < $1::timestamptz AND s.is_busy IS NOT TRUE
   AND NOT EXISTS (SELECT FROM public.user_calls AS other
                    WHERE other.user_id = s.user_id AND other.end_time >= c.start_time)
   AND NOT EXISTS (SELECT FROM public.user_calls AS other
                    WHERE other.listener_id = s.user_id AND other.end_time >= c.start_time)
 ORDER BY c.call_id
 LIMIT $2::bigint

-- name: shown_page
-- $1 only calls after this id, $2 at most so many, $3 that started before: what
-- Redis should show.
SELECT call_id, coalesce(user_id::text, ''), coalesce(listener_id::text, ''),
       coalesce(call_type, ''), floor(extract(epoch FROM start_time))::bigint,
       coalesce(coins_spent, 0)::text
  FROM public.user_calls
 WHERE status = 'ongoing' AND call_id > $1::int AND isfinite(start_time)
   AND start_time < $3::timestamptz
 ORDER BY call_id
 LIMIT $2::int

-- name: shown_among
-- $1 call ids. The same of those of them that are ongoing.
SELECT call_id, coalesce(user_id::text, ''), coalesce(listener_id::text, ''),
       coalesce(call_type, ''), floor(extract(epoch FROM start_time))::bigint,
       coalesce(coins_spent, 0)::text
  FROM public.user_calls
 WHERE status = 'ongoing' AND call_id = ANY ($1::int[]) AND isfinite(start_time)
 ORDER BY call_id
