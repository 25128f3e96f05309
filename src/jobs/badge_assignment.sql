-- name: business_day
-- $1 T, $2 time zone. The day whose badges are given, and the day before it,
-- whose talk time earns them.
SELECT day, day - 1 AS previous
  FROM (SELECT ($1::timestamptz AT TIME ZONE $2::text)::date AS day) AS today

-- name: talk_time
-- $1 day, $2 time zone, $3 the statuses that count, a JSON array. Whole minutes
-- of each listener's calls that started on that day. The call's own local date
-- decides, because a midnight may exist twice or not at all where DST changes
-- then; the window of moments around it is for the index.
SELECT listener_id, least(greatest(sum(duration_minutes), 0), 2147483647)::int AS minutes
  FROM public.user_calls
 WHERE start_time >= $1::date::timestamp AT TIME ZONE $2::text - interval '3 hours'
   AND start_time < ($1::date + 1)::timestamp AT TIME ZONE $2::text + interval '3 hours'
   AND (start_time AT TIME ZONE $2::text)::date = $1::date
   AND status IN (SELECT jsonb_array_elements_text($3::jsonb))
   AND listener_id IS NOT NULL
 GROUP BY listener_id

-- name: next_listeners
-- $1 the listener to go on after, $2 limit.
SELECT user_id
  FROM public.user_roles
 WHERE role = 'listener' AND user_id > $1::int
 ORDER BY user_id
 LIMIT $2::int

-- name: assign
-- $1 day, $2 listener ids, $3 their minutes of talk, $4 the badges, a JSON array
-- with from_us, audio_paise and video_paise. Who is no listener any more gets
-- nothing. A row that is right already is not touched. Returns how many
-- listeners have which badge.
WITH tier AS (
  SELECT badge, from_us, audio_paise / 100.0 AS audio, video_paise / 100.0 AS video
    FROM jsonb_to_recordset($4::jsonb) AS given (
           badge text, from_us bigint, audio_paise bigint, video_paise bigint)),
earned AS MATERIALIZED (
  SELECT r.user_id AS listener_id, best.badge, best.audio, best.video
    FROM unnest($2::int[], $3::int[]) AS talk (listener_id, minutes)
    JOIN public.user_roles AS r ON r.user_id = talk.listener_id AND r.role = 'listener'
   CROSS JOIN LATERAL (SELECT badge, audio, video
                         FROM tier
                        WHERE from_us <= talk.minutes * 60000000::bigint
                        ORDER BY from_us DESC
                        LIMIT 1) AS best),
written AS (
  INSERT INTO public.listener_badges AS known
         (listener_id, date, badge, audio_rate_per_minute, video_rate_per_minute)
  SELECT listener_id, $1::date, badge, audio, video
    FROM earned
   ORDER BY listener_id
      ON CONFLICT (listener_id, date) DO UPDATE
     SET badge = excluded.badge, audio_rate_per_minute = excluded.audio_rate_per_minute,
         video_rate_per_minute = excluded.video_rate_per_minute,
         assigned_at = now(), updated_at = now()
   WHERE (known.badge, known.audio_rate_per_minute, known.video_rate_per_minute)
         IS DISTINCT FROM
         (excluded.badge, excluded.audio_rate_per_minute, excluded.video_rate_per_minute))
SELECT badge, count(*) FROM earned GROUP BY badge
