-- The platform's own tables, as its API creates them. Tests, the demo and the
-- benchmark load this; saathiid itself never creates or alters any of it.
CREATE TABLE public.users (
  user_id            serial PRIMARY KEY,
  username           varchar(10) NOT NULL UNIQUE,
  sex                varchar(10) CHECK (sex IN ('male', 'female')),
  dob                date NOT NULL,
  phone              varchar(20) NOT NULL UNIQUE,
  preferred_language varchar(50),
  profile_image_url  text,
  rating             numeric(3,2) DEFAULT 0,
  interests          text[],
  bio                text,
  country            varchar(100) DEFAULT 'India',
  updated_at         timestamptz DEFAULT now(),
  created_at         timestamptz DEFAULT now()
);

CREATE TABLE public.user_roles (
  user_id     integer REFERENCES public.users ON DELETE CASCADE,
  role        varchar(20) CHECK (role IN ('customer', 'listener')),
  assigned_at timestamptz DEFAULT now(),
  PRIMARY KEY (user_id, role)
);

CREATE TABLE public.user_wallets (
  wallet_id          serial PRIMARY KEY,
  user_id            integer UNIQUE REFERENCES public.users ON DELETE CASCADE,
  balance_coins      bigint DEFAULT 0,
  withdrawable_money numeric(12,2) DEFAULT 0,
  updated_at         timestamptz DEFAULT now(),
  created_at         timestamptz DEFAULT now()
);

CREATE TABLE public.user_transactions (
  transaction_id serial PRIMARY KEY,
  wallet_id      integer REFERENCES public.user_wallets ON DELETE CASCADE,
  tx_type        varchar(20) CHECK (tx_type IN
                   ('purchase', 'spend', 'earn', 'withdraw', 'bonus', 'referral_bonus')),
  coins_change   bigint DEFAULT 0,
  money_change   numeric(12,2) DEFAULT 0,
  updated_at     timestamptz DEFAULT now(),
  created_at     timestamptz DEFAULT now()
);

CREATE TABLE public.user_status (
  user_id    integer PRIMARY KEY REFERENCES public.users ON DELETE CASCADE,
  is_online  boolean DEFAULT false,
  last_seen  timestamptz DEFAULT now(),
  is_busy    boolean DEFAULT false,
  wait_time  integer,
  is_active  boolean DEFAULT true,
  updated_at timestamptz DEFAULT now(),
  created_at timestamptz DEFAULT now()
);

CREATE TABLE public.user_calls (
  call_id               serial PRIMARY KEY,
  user_id               integer REFERENCES public.users ON DELETE CASCADE,
  listener_id           integer REFERENCES public.users ON DELETE CASCADE,
  call_type             varchar(10) CHECK (call_type IN ('audio', 'video')),
  start_time            timestamptz NOT NULL DEFAULT now(),
  end_time              timestamptz,
  duration_seconds      integer,
  duration_minutes      integer,
  coins_spent           bigint DEFAULT 0,
  listener_money_earned bigint DEFAULT 0,
  status                varchar(20) DEFAULT 'ongoing'
                          CHECK (status IN ('ongoing', 'completed', 'dropped')),
  updated_at            timestamptz DEFAULT now(),
  created_at            timestamptz DEFAULT now()
);
CREATE INDEX user_calls_user_id ON public.user_calls (user_id);
CREATE INDEX user_calls_listener_id ON public.user_calls (listener_id);

CREATE TABLE public.listener_badges (
  listener_id           integer REFERENCES public.users ON DELETE CASCADE,
  date                  date,
  badge                 varchar(20) CHECK (badge IN ('gold', 'silver', 'bronze', 'basic')),
  audio_rate_per_minute numeric(5,2) NOT NULL,
  video_rate_per_minute numeric(5,2) NOT NULL,
  assigned_at           timestamptz DEFAULT now(),
  updated_at            timestamptz DEFAULT now(),
  created_at            timestamptz DEFAULT now(),
  PRIMARY KEY (listener_id, date)
);
