#include "saathii/jobs/billing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "billing.sql.hpp"
#include "saathii/postgres/array.hpp"

namespace saathii::jobs::billing {

namespace {

std::optional<int> optional_int(const pqxx::field& field) {
  return field.is_null() ? std::nullopt : std::optional<int>(field.as<int>());
}

/// The three columns of `endings` as array parameters. Neither times nor
/// reasons hold a character that an array would need quoted.
struct Columns {
  std::string call_ids = "{";
  std::string end_times = "{";
  std::string reasons = "{";

  explicit Columns(const std::vector<Ending>& endings) {
    for (const auto& ending : endings) {
      const std::string_view comma = call_ids.size() == 1 ? "" : ",";
      call_ids += fmt::format("{}{}", comma, ending.call_id);
      end_times += fmt::format("{}\"{}\"", comma, ending.end_time);
      reasons += fmt::format("{}{}", comma, ending.reason);
    }
    call_ids += '}';
    end_times += '}';
    reasons += '}';
  }
};

std::vector<Charged> charge_up_to(postgres::Session& session, pqxx::transaction_base& transaction,
                                  const std::string& call_ids, const std::string& end_times,
                                  Instant moment, std::int64_t catch_up_limit) {
  const auto rows = session.exec(transaction, sql::billing::charge, call_ids, end_times,
                                 to_iso8601(moment), minute_interval(), catch_up_limit);
  if (!rows.empty() && rows[0][13].as<bool>()) {
    throw std::runtime_error("a wallet would fall below 0: it changed while it was charged");
  }
  std::vector<Charged> calls;
  calls.reserve(static_cast<std::size_t>(rows.size()));
  for (const auto& row : rows) {
    Charged& call = calls.emplace_back();
    call.call_id = row[0].as<int>();
    call.user_id = optional_int(row[1]);
    call.listener_id = optional_int(row[2]);
    call.call_type = row[3].c_str();
    call.start_epoch_s = row[4].as<std::int64_t>();
    call.coins_spent = row[5].as<std::int64_t>();
    call.minutes = row[6].as<int>();
    call.coins = row[7].as<std::int64_t>();
    call.waived = row[8].as<int>();
    call.is_short = row[9].as<bool>();
    call.balance = row[10].as<std::int64_t>();
    call.minutes_left = row[11].as<std::int64_t>();
    call.had_more = row[12].as<bool>();
  }
  return calls;
}

std::vector<int> lock(postgres::Session& session, pqxx::transaction_base& transaction,
                      const std::vector<int>& call_ids, const postgres::Statement& wallets) {
  const auto locked =
      session.exec(transaction, sql::billing::lock_calls, postgres::to_array(call_ids));
  if (locked[0][0].is_null()) {
    return {};
  }
  session.exec(transaction, wallets, std::string{locked[0][0].c_str()});
  return postgres::parse_int_array(locked[0][0].c_str());
}

std::string rupees(std::int64_t paise) { return fmt::format("{}.{:02}", paise / 100, paise % 100); }

}  // namespace

std::string interval(Duration length) { return fmt::format("{} microseconds", length.count()); }

std::string minute_interval() { return interval(minute_length); }

RateBounds record_rates(postgres::Session& session, Instant moment, const config::Rates& rates) {
  const auto read = [&](auto& transaction) -> std::optional<RateBounds> {
    const auto row = session.exec(transaction, sql::billing::rate_bounds)[0];
    if (row[0].is_null() || row[2].is_null()) {
      return std::nullopt;
    }
    return RateBounds{row[0].template as<std::int64_t>(), row[1].template as<std::int64_t>(),
                      row[2].template as<std::int64_t>(), row[3].template as<std::int64_t>(),
                      row[4].template as<std::string>()};
  };
  // Rates hardly ever change: one round trip, and no transaction to write nothing.
  const auto known = session.autocommit(read);
  if (known && known->audio_latest == rates.audio && known->video_latest == rates.video) {
    return *known;
  }
  return session.transact([&](auto& transaction) {
    session.exec(transaction, sql::billing::record_rates, to_iso8601(moment), rates.audio,
                 rates.video);
    return read(transaction).value();
  });
}

std::vector<int> lock_calls(postgres::Session& session, pqxx::transaction_base& transaction,
                            const std::vector<int>& call_ids) {
  return lock(session, transaction, call_ids, sql::billing::lock_caller_wallets);
}

std::vector<int> lock_calls_to_end(postgres::Session& session, pqxx::transaction_base& transaction,
                                   const std::vector<int>& call_ids) {
  session.exec(transaction, sql::billing::ensure_listener_wallets, postgres::to_array(call_ids));
  auto locked = lock(session, transaction, call_ids, sql::billing::lock_party_wallets);
  if (!locked.empty()) {
    session.exec(transaction, sql::billing::lock_statuses, postgres::to_array(locked));
  }
  return locked;
}

std::vector<Charged> charge(postgres::Session& session, pqxx::transaction_base& transaction,
                            const std::vector<int>& call_ids, Instant moment,
                            std::int64_t catch_up_limit) {
  return charge_up_to(session, transaction, postgres::to_array(call_ids), "{}", moment,
                      catch_up_limit);
}

void open(postgres::Session& session, pqxx::transaction_base& transaction,
          const std::vector<Ending>& endings, Instant moment) {
  session.exec(transaction, sql::billing::open, Columns(endings).call_ids, to_iso8601(moment),
               minute_interval());
}

std::int64_t charge_until_end(postgres::Session& session, pqxx::transaction_base& transaction,
                              const std::vector<Ending>& endings, Instant moment,
                              std::int64_t catch_up_limit) {
  std::int64_t coins = 0;
  std::vector<Ending> left = endings;
  // Each pass stops a wallet at the first minute that it does not cover; without
  // that minute's call the others on the same wallet go on.
  while (!left.empty()) {
    const Columns columns(left);
    std::set<int> short_calls;
    for (const auto& call : charge_up_to(session, transaction, columns.call_ids, columns.end_times,
                                         moment, catch_up_limit)) {
      coins += call.coins;
      if (call.is_short) {
        short_calls.insert(call.call_id);
      }
    }
    if (short_calls.empty()) {
      break;
    }
    std::erase_if(left, [&](const Ending& call) { return short_calls.contains(call.call_id); });
  }
  return coins;
}

std::int64_t refund(postgres::Session& session, pqxx::transaction_base& transaction,
                    const std::vector<Ending>& endings) {
  const Columns columns(endings);
  return session.exec(transaction, sql::billing::refund, columns.call_ids, columns.end_times)[0][0]
      .as<std::int64_t>();
}

std::vector<Ended> settle(postgres::Session& session, pqxx::transaction_base& transaction,
                          const std::vector<Ending>& endings, const config::Platform& platform) {
  const Columns columns(endings);
  const config::Badge& basic = platform.badges.tiers.front();
  const auto rows =
      session.exec(transaction, sql::billing::settle, columns.call_ids, columns.end_times,
                   columns.reasons, platform.timezone, rupees(basic.audio_paise),
                   rupees(basic.video_paise), platform.earnings_in == config::EarningsIn::coins);
  std::vector<Ended> ended;
  for (const auto& row : rows) {
    ended.push_back({.call_id = row[0].as<int>(),
                     .user_id = optional_int(row[1]),
                     .listener_id = optional_int(row[2]),
                     .reason = row[3].c_str(),
                     .end_time = Instant{Duration{row[4].as<std::int64_t>()}},
                     .minutes = row[5].as<int>(),
                     .coins = row[6].as<std::int64_t>(),
                     .earned = row[7].c_str()});
  }
  return ended;
}

}  // namespace saathii::jobs::billing
