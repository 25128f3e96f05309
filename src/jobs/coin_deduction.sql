-- name: due_calls
-- $1 T, $2 the length of a minute for calls that start since $9, $10 the shortest
-- ever, $3 stale_after. $4, $5 the audio rate in force since $8, and the highest
-- ever; $6, $7 the same for video.
--
-- One scan that leaves out, by the call's own row, what is surely paid: coins
-- divided by the highest rate is never more than the minutes paid. Whether a
-- candidate is due is decided under its lock, by the ledger.
--
-- A call whose parties have both not been seen for stale_after is held: if a
-- heartbeat comes all its minutes are due again, else call_cleanup ends it as
-- of the moment in which it was last seen.
--
-- Returns columns as arrays: of each due call its id, the caller (where there is
-- none, minus the call's id), the listener (0), and both parties' wait_time (-1).
WITH candidate AS MATERIALIZED (
  SELECT call_id, user_id, listener_id, start_time
    FROM public.user_calls
   WHERE status = 'ongoing' AND call_type IS NOT NULL AND isfinite(start_time)
     AND start_time + CASE WHEN start_time >= $9::timestamptz THEN $2::interval
                           ELSE $10::interval END
           * least(10000000,
                   greatest(coins_spent, 0)
                   / CASE WHEN call_type = 'video'
                          THEN CASE WHEN start_time >= $8::timestamptz THEN $6::bigint
                                    ELSE $7::bigint END
                          ELSE CASE WHEN start_time >= $8::timestamptz THEN $4::bigint
                                    ELSE $5::bigint END
                     END) <= $1::timestamptz),
judged AS (
  SELECT candidate.call_id, coalesce(candidate.user_id, -candidate.call_id) AS user_id,
         candidate.listener_id, caller.wait_time AS caller_waits, listener.wait_time AS listener_waits,
         greatest(start_time, caller.last_seen, listener.last_seen)
           < $1::timestamptz - $3::interval AS held
    FROM candidate
    LEFT JOIN public.user_status AS caller ON caller.user_id = candidate.user_id
    LEFT JOIN public.user_status AS listener ON listener.user_id = candidate.listener_id)
SELECT coalesce(array_agg(call_id) FILTER (WHERE NOT held), '{}'),
       coalesce(array_agg(user_id) FILTER (WHERE NOT held), '{}'),
       coalesce(array_agg(coalesce(listener_id, 0)) FILTER (WHERE NOT held), '{}'),
       coalesce(array_agg(coalesce(caller_waits, -1)) FILTER (WHERE NOT held), '{}'),
       coalesce(array_agg(coalesce(listener_waits, -1)) FILTER (WHERE NOT held), '{}'),
       count(*) FILTER (WHERE held)
  FROM judged

-- name: wait_less
-- For the transaction: a row that somebody holds for long is waited for by its
-- own caller alone, not by a batch that holds thousands of others meanwhile.
SELECT set_config('lock_timeout',
                  CASE WHEN current_setting('lock_timeout') = '0'
                         OR current_setting('lock_timeout')::interval > interval '200 ms'
                       THEN '200ms' ELSE current_setting('lock_timeout') END, true)
