#include "saathii/audit/audit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "audit.sql.hpp"
#include "check.hpp"
#include "saathii/base/counted.hpp"
#include "saathii/postgres/interval.hpp"
#include "saathii/postgres/session.hpp"

namespace saathii::audit {

namespace {

constexpr int before_all = std::numeric_limits<std::int32_t>::min();
constexpr int after_all = std::numeric_limits<std::int32_t>::max();

/// What the session sets for short statements must not break an audit; that we
/// are gone is noticed by client_connection_check_interval. A plan made once for
/// all slices would not know how wide they are.
constexpr const char* begin_snapshot =
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;"
    "SET LOCAL statement_timeout = '2h';"
    "SET LOCAL idle_in_transaction_session_timeout = '15min';"
    "SET LOCAL plan_cache_mode = force_custom_plan";

constexpr const char* forever = "infinity";

std::string rupees(std::int64_t paise) { return fmt::format("{}.{:02}", paise / 100, paise % 100); }

std::optional<Instant> moment_in(const pqxx::field& field) {
  return field.is_null() ? std::nullopt
                         : std::optional(Instant{Duration{field.as<std::int64_t>()}});
}

std::optional<std::string> text_of(const std::optional<Instant>& moment) {
  return moment ? std::optional(to_iso8601(*moment)) : std::nullopt;
}

/// The checks of one snapshot.
class Snapshot {
 public:
  Snapshot(postgres::Session& session, pqxx::transaction_base& transaction, const Terms& terms,
           const Options& options, const Progress& progress, const std::stop_token& stop,
           Report& report)
      : session_(session),
        transaction_(transaction),
        terms_(terms),
        options_(options),
        progress_(progress),
        stop_(stop),
        report_(report),
        gatherer_(report, options.limit) {}

  Gatherer check();

 private:
  void find_scope();
  void weigh();
  void check_calls();
  void check_wallets();
  void check_statuses();
  void tell();

  template <typename... Args>
  pqxx::result exec(const postgres::Statement& statement, const Args&... args) {
    return session_.exec(transaction_, statement, args...);
  }
  /// Calls check(after, up_to) for parts of the ids that together are all.
  template <typename Check>
  void in_slices(std::string_view what, double weight, const postgres::Statement& next,
                 std::int32_t size, const Check& check);

  postgres::Session& session_;
  pqxx::transaction_base& transaction_;
  const Terms& terms_;
  const Options& options_;
  const Progress& progress_;
  const std::stop_token& stop_;
  Report& report_;
  Gatherer gatherer_;
  std::string ended_since_;  ///< Report::since for the statements
  std::string in_flight_since_;
  double of_calls_ = 1;  ///< shares of the whole work
  double of_wallets_ = 0;
  double of_statuses_ = 0;
  double done_ = 0;
};

void Snapshot::find_scope() {
  progress_("what there is", 0);
  const auto row = exec(
      sql::audit::scope, text_of(options_.as_of), postgres::interval(options_.grace),
      postgres::interval(terms_.charge_retention), text_of(options_.since), terms_.charging_job)[0];
  report_.as_of = *moment_in(row[0]);
  const bool is_empty = row[5].as<bool>();
  report_.since = is_empty ? std::nullopt : moment_in(row[1]);
  report_.charged_until = moment_in(row[2]);
  report_.last_run = moment_in(row[3]);
  report_.baseline = moment_in(row[4]);
  ended_since_ = text_of(report_.since).value_or(forever);
  in_flight_since_ = to_iso8601(report_.as_of - options_.grace);
}

/// About: a charge is read three times, a transaction once.
void Snapshot::weigh() {
  const auto row = exec(sql::audit::sizes)[0];
  const auto calls = row[0].as<double>();
  const auto charges = row[1].as<double>();
  const auto transactions = row[2].as<double>();
  const auto statuses = row[3].as<double>();
  const double in_calls = 3 * charges + 2 * calls + 1;
  const double in_wallets = transactions + charges;
  const double in_statuses = statuses / 2;
  const double all = in_calls + in_wallets + in_statuses;
  of_calls_ = in_calls / all;
  of_wallets_ = in_wallets / all;
  of_statuses_ = in_statuses / all;
}

template <typename Check>
void Snapshot::in_slices(std::string_view what, double weight, const postgres::Statement& next,
                         std::int32_t size, const Check& check) {
  progress_(what, done_);
  const double before = done_;
  for (int last = before_all; last != after_all;) {
    if (stop_.stop_requested()) {
      throw Stopped("interrupted");
    }
    const auto rows = exec(next, last, size);
    const int up_to = rows.empty() ? after_all : rows[0][0].as<int>();
    check(last, up_to);
    const double part = rows.empty() ? 1 : up_to / std::max(1.0, rows[0][1].as<double>());
    done_ = before + weight * std::clamp(part, 0.0, 1.0);
    progress_(what, done_);
    last = up_to;
  }
}

void Snapshot::check_calls() {
  gatherer_.add(exec(sql::audit::unique_key));
  const auto charged_until = to_iso8601(*report_.charged_until);
  const auto as_of = to_iso8601(report_.as_of);
  in_slices(
      "calls and their charges", of_calls_, sql::audit::next_calls, options_.calls_in_slice,
      [&](int after, int up_to) {
        gatherer_.add(exec(sql::audit::duplicates, after, up_to, options_.limit));
        gatherer_.add(exec(sql::audit::ledger, after, up_to, as_of, charged_until, ended_since_,
                           terms_.charging_job, options_.limit));
        gatherer_.add(exec(sql::audit::settlements, after, up_to, ended_since_, terms_.timezone,
                           terms_.basic_audio, terms_.basic_video, options_.limit));
        gatherer_.add(exec(sql::audit::unsettled, after, up_to, ended_since_, terms_.timezone,
                           terms_.basic_audio, terms_.basic_video, in_flight_since_,
                           options_.limit));
      });
}

void Snapshot::check_wallets() {
  in_slices("wallets and their transactions", of_wallets_, sql::audit::next_wallets,
            options_.wallets_in_slice, [&](int after, int up_to) {
              gatherer_.add(exec(sql::audit::wallets, after, up_to, report_.baseline.has_value(),
                                 terms_.earns_coins, options_.limit, ended_since_));
            });
}

void Snapshot::check_statuses() {
  in_slices(
      "who is busy", of_statuses_, sql::audit::next_statuses, options_.statuses_in_slice,
      [&](int after, int up_to) {
        gatherer_.add(exec(sql::audit::statuses, after, up_to, in_flight_since_, options_.limit));
      });
  gatherer_.add(exec(sql::audit::not_busy, in_flight_since_, options_.limit));
}

/// What a reader of the findings has to know beside them.
void Snapshot::tell() {
  Finding& minutes = gatherer_.finding(2);
  if (report_.last_run && *report_.last_run < report_.as_of - options_.grace) {
    minutes.notes.push_back(
        fmt::format("the last run of {} that succeeded began {} before: minutes that started since "
                    "then were not asked for",
                    terms_.charging_job, humanize(report_.as_of - *report_.last_run)));
  } else if (!report_.last_run) {
    minutes.notes.push_back(
        fmt::format("no run of {} is on record: every minute older than {} was asked for",
                    terms_.charging_job, humanize(options_.grace)));
  }
  Finding& wallets = gatherer_.finding(3);
  if (!report_.baseline) {
    wallets.result = wallets.result == Result::holds ? Result::not_checked : wallets.result;
    wallets.notes.emplace_back(
        "opening balances are not known: 'saathiictl audit --baseline' records them. What saathiid "
        "charged and gave back was compared with the transactions all the same");
  }
  Finding& settlements = gatherer_.finding(8);
  for (const auto& [kind, count] : settlements.kinds) {
    if (kind == "ended_by_both") {
      settlements.notes.push_back(
          fmt::format("{} ended by saathiid and, at the same moment and without a look, by the "
                      "API: their listeners were paid by both",
                      count == 1 ? "1 call was" : counted(count, "call") + " were"));
    }
  }
}

Gatherer Snapshot::check() {
  find_scope();
  weigh();
  check_calls();
  check_wallets();
  check_statuses();
  tell();
  return gatherer_;
}

}  // namespace

Terms terms_of(const config::Config& config) {
  Terms terms;
  for (const config::Job& job : config.jobs) {
    if (job.kind == "coin_deduction") {
      terms.charging_job = job.name;
      break;
    }
  }
  const config::Badge& basic = config.platform.badges.tiers.front();
  terms.timezone = config.platform.timezone;
  terms.basic_audio = rupees(basic.audio_paise);
  terms.basic_video = rupees(basic.video_paise);
  terms.earns_coins = config.platform.earnings_in == config::EarningsIn::coins;
  terms.charge_retention = config.service.charge_retention;
  return terms;
}

Report run(postgres::Session& session, redis::Client* redis, const Terms& terms,
           const Options& options, const Progress& progress, const std::stop_token& stop) {
  Report report;
  Gatherer gatherer = session.transact([&](auto& transaction) {
    // From the start again, where the server asks for that.
    report = {};
    transaction.exec(begin_snapshot);
    return Snapshot(session, transaction, terms, options, progress, stop, report).check();
  });
  if (redis == nullptr) {
    Finding& finding = gatherer.finding(10);
    finding.result = Result::not_checked;
    finding.notes.emplace_back("Redis was not given");
  } else {
    progress("what Redis shows", 1);
    check_redis(session, *redis, options, gatherer, report.as_of, stop);
  }
  return report;
}

}  // namespace saathii::audit
