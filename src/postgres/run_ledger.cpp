#include "saathii/postgres/run_ledger.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "record_row.hpp"
#include "run_ledger.sql.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/base/first_line.hpp"
#include "saathii/log/log.hpp"
#include "saathii/postgres/interval.hpp"
#include "saathii/postgres/migrations.hpp"
#include "saathii/postgres/session.hpp"

namespace saathii::postgres {

namespace {

constexpr int max_offered_ahead = 1000;
constexpr int prune_rows = 10'000;
constexpr std::size_t record_rows = 1000;
constexpr std::string_view disk_full = "53100";

/// Whether the database refuses what the rows hold, and would again: bad data
/// (22...), a constraint (23...), a limit (54...). Anything else passes.
bool refuses_rows(const std::string& sqlstate) {
  return sqlstate.starts_with("22") || sqlstate.starts_with("23") || sqlstate.starts_with("54");
}

/// PostgreSQL's text cannot hold a NUL.
std::string without_nul(std::string text) {
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

nlohmann::json to_json(const runner::Record& record) {
  const auto moment = [](const std::optional<Instant>& at) -> nlohmann::json {
    return at ? nlohmann::json(to_iso8601(*at)) : nlohmann::json(nullptr);
  };
  auto counts = nlohmann::json::object();
  for (const auto& [name, number] : record.counts) {
    counts[name] = number;
  }
  return {
      {"job", runner::ledger_name(record.job, record.host)},
      {"scheduled_at", to_iso8601(record.scheduled_at)},
      {"last_scheduled_at", to_iso8601(record.last_scheduled_at)},
      {"ticks", record.ticks},
      {"outcome", schedule::to_string(record.outcome)},
      {"reason", without_nul(record.reason)},
      {"run_id", record.run_id.empty() ? nlohmann::json(nullptr) : nlohmann::json(record.run_id)},
      {"started_at", moment(record.started_at)},
      {"finished_at", moment(record.finished_at)},
      {"attempts", record.attempts},
      {"counts", std::move(counts)},
      {"as_of", moment(record.as_of)},
      {"term", record.term == 0 ? nlohmann::json(nullptr) : nlohmann::json(record.term)}};
}

}  // namespace

RunLedger::RunLedger(Pool& pool, config::Service retention)
    : pool_(pool), retention_(std::move(retention)) {}

std::stop_token RunLedger::begin() {
  const std::scoped_lock lock(mutex_);
  if (stop_.stop_requested()) {
    stop_ = std::stop_source{};
  }
  return stop_.get_token();
}

/// Outcomes that a newer schema keeps from being written wait, as for a server
/// that is down: they must not be given up one by one as ones that it refuses.
Pool::Lease RunLedger::session() {
  try {
    return pool_.lease(begin());
  } catch (const NewerSchema& error) {
    throw Unavailable("postgres", error.what());
  }
}

void RunLedger::interrupt() noexcept {
  const std::stop_source current = [this] {
    const std::scoped_lock lock(mutex_);
    return stop_;
  }();
  current.request_stop();
}

runner::Past RunLedger::past(const std::string& job, Instant now) {
  const auto lease = session();
  return lease->autocommit([&](auto& session) {
    runner::Past past;
    const std::string moment = to_iso8601(now);
    const auto last = lease->exec(session, sql::run_ledger::last_tick, job, moment);
    past.last_tick = to_optional_moment(last[0][0]);
    for (const auto& row :
         lease->exec(session, sql::run_ledger::offered_ahead, job, moment, max_offered_ahead)) {
      past.offered_ahead.push_back(to_moment(row[0]));
    }
    for (const auto& row : lease->exec(session, sql::run_ledger::last_run, job)) {
      past.last_run = to_record(row);
    }
    for (const auto& row : lease->exec(session, sql::run_ledger::last_success, job)) {
      past.last_success = to_optional_moment(row[0]);
    }
    return past;
  });
}

void RunLedger::record(const std::vector<runner::Record>& records) {
  const auto lease = session();
  const auto write = [&](auto& transaction) {
    auto rows = nlohmann::json::array();
    // One statement may meet a tick once only.
    std::set<std::pair<std::string_view, Instant>> ticks;
    const auto flush = [&] {
      if (!rows.empty()) {
        lease->exec(transaction, sql::run_ledger::record,
                    rows.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
      }
      rows.clear();
      ticks.clear();
    };
    for (const auto& record : records) {
      if (rows.size() >= record_rows || ticks.contains({record.job, record.scheduled_at})) {
        flush();
      }
      ticks.emplace(record.job, record.scheduled_at);
      rows.push_back(to_json(record));
    }
    flush();
    return 0;
  };
  try {
    // One row is one statement: it needs no transaction block around it.
    if (records.size() == 1) {
      lease->autocommit(write);
    } else {
      lease->transact(write);
    }
    if (std::exchange(waits_, false)) {
      log::info(log::Message::ledger_written, "the run ledger is written again");
    }
  } catch (const pqxx::sql_error& error) {
    if (refuses_rows(error.sqlstate())) {
      throw;
    }
    wait(error.sqlstate() == disk_full ? log::Message::database_full
                                       : log::Message::ledger_unwritten,
         error.what());
  } catch (const LockTimeout& error) {
    wait(log::Message::ledger_unwritten, error.what());
  }
}

/// A full disk, a lock, a right that was taken away refuse no outcome in
/// particular: they wait until the database takes them.
void RunLedger::wait(log::Message id, std::string_view reason) {
  const std::string line = first_line(reason);
  if (!std::exchange(waits_, true)) {
    log::error(id, "the run ledger cannot be written: " + line + "; outcomes wait until it can");
  }
  throw Unavailable("postgres", line);
}

bool RunLedger::prune() {
  const auto lease = session();
  const auto prune_one = [&](const Statement& statement, Duration age) {
    return lease->transact([&](auto& transaction) {
      return lease->exec(transaction, statement, interval(age), prune_rows).affected_rows();
    });
  };
  const auto runs = prune_one(sql::run_ledger::prune_runs, retention_.run_retention);
  const auto charges = prune_one(sql::run_ledger::prune_charges, retention_.charge_retention);
  const auto settlements =
      prune_one(sql::run_ledger::prune_settlements, retention_.charge_retention);
  return std::max({runs, charges, settlements}) >= prune_rows;
}

}  // namespace saathii::postgres
