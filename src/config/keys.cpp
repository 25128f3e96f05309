#include "keys.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

namespace saathii::config {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::int64_t us(Duration length) { return length.count(); }

template <class Field>
constexpr Form form_of() {
  if constexpr (std::is_same_v<Field, bool>) return Form::flag;
  if constexpr (std::is_same_v<Field, Duration>) return Form::duration;
  if constexpr (std::is_same_v<Field, std::vector<std::string>>) return Form::list;
  if constexpr (std::is_same_v<Field, std::string> || std::is_enum_v<Field>) return Form::text;
  return Form::integer;
}

/// `access` finds the field in a Config or a Job. An enumeration is written as
/// one of the choices, which stand in its order.
template <class Target, class Access>
Key<Target> key(std::string_view name, Access access, Rule rule = {}) {
  using Field = std::remove_reference_t<std::invoke_result_t<Access, Target&>>;
  if (rule.form == Form::text) rule.form = form_of<Field>();
  Key<Target> made{name, rule, nullptr, nullptr};
  if constexpr (std::is_enum_v<Field>) {
    made.get = [access, rule](const Target& target) -> Value {
      return std::string(rule.choices.at(static_cast<std::size_t>(access(target))));
    };
    made.set = [access, rule](Target& target, const Value& value) {
      const auto& text = std::get<std::string>(value);
      const auto at = std::find(rule.choices.begin(), rule.choices.end(), text);
      access(target) = static_cast<Field>(at - rule.choices.begin());
    };
  } else if constexpr (std::is_same_v<Field, int>) {
    made.get = [access](const Target& target) -> Value { return std::int64_t{access(target)}; };
    made.set = [access](Target& target, const Value& value) {
      access(target) = static_cast<int>(std::get<std::int64_t>(value));
    };
  } else {
    made.get = [access](const Target& target) -> Value { return access(target); };
    made.set = [access](Target& target, const Value& value) {
      access(target) = std::get<Field>(value);
    };
  }
  return made;
}

// The rest reads best as a table: name, field, and what is allowed.
// NOLINTBEGIN(bugprone-macro-parentheses): a member's name takes no parentheses.
#define FIELD(path) \
  [](auto& t) -> auto& { return t.path; }
// NOLINTEND(bugprone-macro-parentheses)

Section badge(std::string_view name, std::size_t tier) {
  // What listener_badges' numeric(5,2) holds.
  const Rule rate{.form = Form::paise, .min = 1, .max = 99'999};
  return {
      name,
      {key<Config>("from", [tier](auto& c) -> auto& { return c.platform.badges.tiers[tier].from; },
                   {.max = us(hours{24})}),
       key<Config>(
           "audio", [tier](auto& c) -> auto& { return c.platform.badges.tiers[tier].audio_paise; },
           rate),
       key<Config>(
           "video", [tier](auto& c) -> auto& { return c.platform.badges.tiers[tier].video_paise; },
           rate)}};
}

Rule length(Duration min, Duration max) { return {.min = us(min), .max = us(max)}; }

Section alerts() {
  return {"alerts",
          {key<Config>("on", FIELD(alerts.on),
                       {.max = 6,
                        .choices = {"failed", "missed", "long_running", "stuck", "unhealthy",
                                    "recovered"}}),
           key<Config>("jobs", FIELD(alerts.jobs), {.max = 1000}),
           key<Config>("repeat_after", FIELD(alerts.repeat_after), length(seconds{0}, hours{8760})),
           key<Config>("min_gap", FIELD(alerts.min_gap), length(seconds{0}, hours{24})),
           key<Config>("max_per_hour", FIELD(alerts.max_per_hour), {.min = 1, .max = 1000}),
           key<Config>("long_running_percent", FIELD(alerts.long_running_percent),
                       {.min = 1, .max = 1000}),
           key<Config>("give_up_after", FIELD(alerts.give_up_after), length(seconds{0}, hours{24})),
           key<Config>("ca_file", FIELD(alerts.ca_file), {.form = Form::path})}};
}

Section alerts_command() {
  return {"alerts.command",
          {key<Config>("run", FIELD(alerts.command.run), {.max = 100}),
           key<Config>("timeout", FIELD(alerts.command.timeout), length(seconds{1}, minutes{10}))}};
}

Section alerts_webhook() {
  return {"alerts.webhook",
          {key<Config>("url", FIELD(alerts.webhook.url), {.form = Form::webhook_url}),
           key<Config>("token_file", FIELD(alerts.webhook.token.file), {.form = Form::path}),
           key<Config>("token_header", FIELD(alerts.webhook.token_header)),
           key<Config>("timeout", FIELD(alerts.webhook.timeout), length(seconds{1}, minutes{10}))}};
}

Section alerts_mail() {
  return {"alerts.mail",
          {key<Config>("smtp", FIELD(alerts.mail.smtp), {.form = Form::smtp_url}),
           key<Config>("starttls", FIELD(alerts.mail.starttls),
                       {.choices = {"required", "optional", "none"}}),
           key<Config>("from", FIELD(alerts.mail.from)),
           key<Config>("to", FIELD(alerts.mail.to), {.max = 20}),
           key<Config>("user", FIELD(alerts.mail.user)),
           key<Config>("password_file", FIELD(alerts.mail.password.file), {.form = Form::path}),
           key<Config>("timeout", FIELD(alerts.mail.timeout), length(seconds{1}, minutes{10}))}};
}

std::vector<Section> make_sections() {
  const Rule coins{.min = 1, .max = 1'000'000};
  return {
      {"", {key<Config>("timezone", FIELD(platform.timezone), {.form = Form::zone})}},
      {"postgres",
       {key<Config>("url", FIELD(postgres.url), {.form = Form::postgres_url}),
        key<Config>("password_file", FIELD(postgres.password.file), {.form = Form::path}),
        key<Config>("max_sessions", FIELD(postgres.max_sessions), {.min = 1, .max = 100}),
        key<Config>("connect_timeout", FIELD(postgres.connect_timeout),
                    length(seconds{1}, minutes{5})),
        key<Config>("statement_timeout", FIELD(postgres.statement_timeout),
                    length(seconds{1}, hours{24})),
        key<Config>("lock_timeout", FIELD(postgres.lock_timeout),
                    length(milliseconds{10}, hours{1})),
        key<Config>("tcp_user_timeout", FIELD(postgres.tcp_user_timeout),
                    length(seconds{1}, hours{1})),
        key<Config>("migrate_at_start", FIELD(postgres.migrate_at_start))},
       true},
      {"redis",
       {key<Config>("url", FIELD(redis.url), {.form = Form::redis_url}),
        key<Config>("password_file", FIELD(redis.password.file), {.form = Form::path}),
        key<Config>("connect_timeout", FIELD(redis.connect_timeout),
                    length(milliseconds{10}, minutes{1})),
        key<Config>("command_timeout", FIELD(redis.command_timeout),
                    length(milliseconds{10}, minutes{1}))}},
      {"rates",
       {key<Config>("audio", FIELD(platform.rates.audio), coins),
        key<Config>("video", FIELD(platform.rates.video), coins),
        key<Config>("increment", FIELD(platform.rates.increment), length(seconds{1}, hours{1}))}},
      {"badges",
       {key<Config>("count_status", FIELD(platform.badges.count_status),
                    {.min = 1, .max = 2, .choices = {"completed", "dropped"}})}},
      badge("badges.basic", 0),
      badge("badges.bronze", 1),
      badge("badges.silver", 2),
      badge("badges.gold", 3),
      {"settlement",
       {key<Config>("earnings_in", FIELD(platform.earnings_in), {.choices = {"rupees", "coins"}})}},
      {"log",
       {key<Config>("level", FIELD(log.level), {.form = Form::level}),
        key<Config>("files", FIELD(log.files), {.form = Form::path})}},
      {"control", {key<Config>("bus", FIELD(control.bus), {.form = Form::bus})}, true},
      {"http", {key<Config>("listen", FIELD(http.listen), {.form = Form::listen})}},
      {"service",
       {key<Config>("instance", FIELD(service.instance)),
        key<Config>("lease", FIELD(service.lease), length(seconds{2}, minutes{10})),
        key<Config>("drain_timeout", FIELD(service.drain_timeout), length(seconds{0}, minutes{10})),
        key<Config>("run_retention", FIELD(service.run_retention),
                    length(hours{24}, hours{24 * 36'500})),
        key<Config>("charge_retention", FIELD(service.charge_retention),
                    length(hours{24}, hours{24 * 36'500}))},
       true},
      {"health",
       {key<Config>("postgres_down_after", FIELD(health.postgres_down_after),
                    length(seconds{0}, hours{24})),
        key<Config>("disk_free_degraded", FIELD(health.disk_free_degraded), {.min = 0, .max = 100}),
        key<Config>("disk_free_failing", FIELD(health.disk_free_failing), {.min = 0, .max = 100})}},
      alerts(),
      alerts_command(),
      alerts_webhook(),
      alerts_mail(),
  };
}

std::vector<Key<Job>> common_job_keys() {
  return {
      key<Job>("enabled", FIELD(enabled)),
      key<Job>("misfire_grace", FIELD(policy.misfire_grace), length(seconds{0}, hours{24 * 366})),
      key<Job>("coalesce", FIELD(policy.coalesce)),
      key<Job>("catch_up_limit", FIELD(policy.catch_up_limit), {.min = 1, .max = 1000}),
      key<Job>("overlap", FIELD(policy.overlap), {.choices = {"skip", "queue"}}),
      key<Job>("jitter", FIELD(policy.jitter), length(seconds{0}, hours{24})),
      key<Job>("timeout", FIELD(run.timeout), length(seconds{1}, hours{24 * 7})),
      key<Job>("retries", FIELD(run.retries), {.min = 0, .max = 100}),
      key<Job>("retry_backoff", FIELD(run.retry_backoff), length(milliseconds{1}, hours{1})),
      key<Job>("retry_backoff_cap", FIELD(run.retry_backoff_cap),
               length(milliseconds{1}, hours{24})),
      key<Job>("run_at_start", FIELD(run.run_at_start)),
      key<Job>("success_deadline", FIELD(run.success_deadline),
               length(seconds{0}, hours{24 * 366})),
      key<Job>("long_running_after", FIELD(run.long_running_after),
               length(seconds{0}, hours{24 * 7})),
  };
}

#undef FIELD

}  // namespace

const std::vector<Section>& sections() {
  static const std::vector<Section> all = make_sections();
  return all;
}

std::vector<Key<Job>> job_keys(const KindInfo& kind) {
  auto keys = common_job_keys();
  for (const auto& setting : kind.settings) {
    keys.push_back(
        {setting.name, rule_of(setting),
         [name = setting.name](const Job& job) { return job.settings.all().find(name)->second; },
         [name = setting.name](Job& job, const Value& value) { job.settings.set(name, value); }});
  }
  return keys;
}

}  // namespace saathii::config
