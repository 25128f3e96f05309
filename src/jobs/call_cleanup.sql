-- name: doomed
-- $1 T, $2 grace, $3 stale_after, $4 only calls after this id, $5 at most so
-- many, $6 only these ids where given (under their lock).
-- Calls that the contract says must end, when each ended, and why.
SELECT c.call_id,
       (extract(epoch FROM CASE WHEN seen.last < $1::timestamptz - $3::interval THEN seen.last
                                ELSE greatest($1::timestamptz, c.start_time) END)
        * 1000000)::bigint AS end_time_us,
       CASE WHEN seen.last < $1::timestamptz - $3::interval THEN 'not_seen'
            WHEN caller.wait_time <= 0 THEN 'no_wait_time'
            ELSE 'overdue' END AS reason
  FROM public.user_calls AS c
  LEFT JOIN public.user_status AS caller ON caller.user_id = c.user_id
  LEFT JOIN public.user_status AS listener ON listener.user_id = c.listener_id
 -- A party without a status row was last seen at the start.
 CROSS JOIN LATERAL (SELECT greatest(c.start_time, caller.last_seen, listener.last_seen) AS last)
         AS seen
 CROSS JOIN LATERAL (SELECT length
                       FROM saathii_tasks.minute_length
                      WHERE valid_from <= c.start_time
                      ORDER BY valid_from DESC
                      LIMIT 1) AS minute
 WHERE c.status = 'ongoing' AND c.call_id > $4::int AND isfinite(c.start_time)
   AND ($6::int[] IS NULL OR c.call_id = ANY ($6::int[]))
   AND (seen.last < $1::timestamptz - $3::interval
        OR caller.wait_time <= 0
        OR (c.start_time + least(caller.wait_time, 10000000) * minute.length < $1::timestamptz - $2::interval
            -- A caller who topped up since is not cut off.
            AND (SELECT c.start_time
                          + least(10000000,
                                  coalesce(charged.minute,
                                           CASE WHEN c.coins_spent > 0
                                                THEN greatest(1, c.coins_spent / at_start.coins)
                                                ELSE 0 END)
                                  + coalesce(w.balance_coins, 0) / latest.coins) * minute.length
                   FROM (SELECT coins FROM saathii_tasks.coin_rate
                          WHERE call_type = c.call_type AND valid_from <= c.start_time
                          ORDER BY valid_from DESC LIMIT 1) AS at_start
                  CROSS JOIN (SELECT coins FROM saathii_tasks.coin_rate
                               WHERE call_type = c.call_type AND valid_from <= $1::timestamptz
                               ORDER BY valid_from DESC LIMIT 1) AS latest
                   LEFT JOIN public.user_wallets AS w ON w.user_id = c.user_id
                   LEFT JOIN LATERAL (SELECT minute FROM saathii_tasks.call_charge
                                       WHERE call_id = c.call_id
                                       ORDER BY minute DESC LIMIT 1) AS charged ON true)
                < $1::timestamptz - $2::interval))
 ORDER BY c.call_id
 LIMIT $5::int
