#include "saathii/postgres/inquiry.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "inquiry.sql.hpp"
#include "record_row.hpp"
#include "saathii/base/errors.hpp"
#include "saathii/base/first_line.hpp"
#include "saathii/postgres/migrations.hpp"
#include "saathii/postgres/session.hpp"

namespace saathii::postgres {

namespace {

constexpr std::size_t most_rows = 10'000;
constexpr std::size_t most_calls = 100;

constexpr std::string_view query_canceled = "57014";
constexpr std::string_view undefined_table = "42P01";
constexpr std::string_view invalid_schema_name = "3F000";

/// Everything that keeps an answer back is Unavailable to who asked, with what
/// to do about it.
[[noreturn]] void rethrow(const pqxx::sql_error& error) {
  const std::string& state = error.sqlstate();
  if (state == query_canceled) {
    throw Unavailable("postgres",
                      fmt::format("the answer would take longer than {} s: ask for less (a later "
                                  "start, fewer rows), or try again when the database is less busy",
                                  inquiry_patience.count()));
  }
  if (state == undefined_table || state == invalid_schema_name) {
    throw Unavailable("postgres", first_line(error.what()) +
                                      ": run 'saathiid --migrate' as the owner of the platform's "
                                      "tables");
  }
  // libpqxx 6.4 tells no sqlstate of these.
  if (dynamic_cast<const pqxx::insufficient_privilege*>(&error) != nullptr) {
    throw Unavailable("postgres", first_line(error.what()) +
                                      ": run saathiid-role.sql again, as the owner of the "
                                      "platform's database");
  }
  throw Unavailable("postgres", first_line(error.what()));
}

/// Runs `body(session, transaction)` in one snapshot that it cannot write to.
template <typename Body>
auto inquire(Pool& pool, const std::stop_token& stop, Body&& body) {
  try {
    const auto lease = pool.lease(stop);
    return lease->transact([&](auto& transaction) {
      transaction.exec(
          fmt::format("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;"
                      "SET LOCAL statement_timeout = {}",
                      std::chrono::milliseconds{inquiry_patience}.count()));
      return body(*lease, transaction);
    });
  } catch (const NewerSchema& error) {
    throw Unavailable("postgres", error.what());
  } catch (const LockTimeout& error) {
    throw Unavailable("postgres", std::string{error.what()} + ": a table is being altered");
  } catch (const pqxx::sql_error& error) {
    rethrow(error);
  }
}

template <typename Field>
std::optional<std::int64_t> to_integer(const Field& field) {
  return field.is_null() ? std::nullopt : std::optional{field.template as<std::int64_t>()};
}

ReceiptMinute to_minute(const pqxx::row& row) {
  ReceiptMinute minute;
  minute.minute = row[0].as<std::int32_t>();
  minute.starts_at = to_optional_moment(row[1]).value_or(Instant{});
  minute.coins = row[2].as<std::int64_t>();
  minute.source = row[3].c_str();
  minute.charged_at = to_optional_moment(row[4]);
  minute.balance_before = to_integer(row[5]);
  minute.balance_after = to_integer(row[6]);
  minute.refunded_at = to_optional_moment(row[7]);
  return minute;
}

Receipt to_receipt(const pqxx::row& row) {
  Receipt receipt;
  receipt.call_id = row[0].as<std::int64_t>();
  receipt.user_id = row[1].as<std::int64_t>();
  receipt.listener_id = row[2].as<std::int64_t>();
  receipt.call_type = row[3].c_str();
  receipt.status = row[4].c_str();
  receipt.start_time = to_optional_moment(row[5]).value_or(Instant{});
  receipt.end_time = to_optional_moment(row[6]);
  receipt.coins_spent = row[7].as<std::int64_t>();
  return receipt;
}

Settlement to_settlement(const pqxx::row& row) {
  Settlement settlement;
  settlement.reason = row[0].c_str();
  settlement.end_time = to_optional_moment(row[1]).value_or(Instant{});
  settlement.minutes = row[2].as<std::int32_t>();
  settlement.coins = row[3].as<std::int64_t>();
  settlement.earned = row[4].c_str();
  settlement.settled_at = to_optional_moment(row[5]).value_or(Instant{});
  return settlement;
}

}  // namespace

std::vector<runner::Record> history(Pool& pool, const HistoryQuery& query,
                                    const std::stop_token& stop) {
  return inquire(pool, stop, [&](Session& session, auto& transaction) {
    const std::string since = query.since ? to_iso8601(*query.since) : "-infinity";
    const std::string until = query.until ? to_iso8601(*query.until) : "infinity";
    std::vector<runner::Record> records;
    for (const auto& row : session.exec(transaction, sql::inquiry::history, query.job, since,
                                        query.outcome, std::min(query.limit, most_rows), until)) {
      records.push_back(to_record(row));
    }
    return records;
  });
}

std::optional<Receipt> receipt(Pool& pool, std::int64_t call_id, const std::stop_token& stop) {
  return inquire(pool, stop, [&](Session& session, auto& transaction) -> std::optional<Receipt> {
    const auto calls = session.exec(transaction, sql::inquiry::call, call_id);
    if (calls.empty()) {
      return std::nullopt;
    }
    Receipt receipt = to_receipt(calls[0]);
    for (const auto& row : session.exec(transaction, sql::inquiry::minutes, call_id, most_rows)) {
      receipt.minutes.push_back(to_minute(row));
    }
    const auto settled = session.exec(transaction, sql::inquiry::settlement, call_id);
    if (!settled.empty()) {
      receipt.settlement = to_settlement(settled[0]);
    }
    return receipt;
  });
}

std::optional<Wallet> wallet(Pool& pool, std::int64_t user_id, std::size_t entries,
                             const std::stop_token& stop) {
  return inquire(pool, stop, [&](Session& session, auto& transaction) -> std::optional<Wallet> {
    const auto wallets = session.exec(transaction, sql::inquiry::wallet, user_id);
    if (wallets.empty()) {
      return std::nullopt;
    }
    Wallet wallet;
    wallet.user_id = user_id;
    wallet.balance_coins = wallets[0][1].template as<std::int64_t>();
    wallet.withdrawable_money = wallets[0][2].c_str();
    for (const auto& row :
         session.exec(transaction, sql::inquiry::ongoing_calls, user_id, most_calls)) {
      wallet.ongoing_calls.push_back(row[0].template as<std::int64_t>());
    }
    const auto wallet_id = wallets[0][0].template as<std::int64_t>();
    for (const auto& row : session.exec(transaction, sql::inquiry::wallet_entries, wallet_id,
                                        std::min(entries, most_rows))) {
      wallet.entries.push_back({to_optional_moment(row[0]).value_or(Instant{}), row[1].c_str(),
                                row[2].template as<std::int64_t>(), row[3].c_str()});
    }
    return wallet;
  });
}

}  // namespace saathii::postgres
