#include "saathii/jobs/billing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "billing.sql.hpp"
#include "saathii/postgres/array.hpp"
#include "saathii/postgres/interval.hpp"

namespace saathii::jobs::billing {

namespace {

std::optional<int> optional_int(const pqxx::field& field) {
  return field.is_null() ? std::nullopt : std::optional<int>(field.as<int>());
}

constexpr std::string_view word_of(Source source) {
  switch (source) {
    case Source::api:
      return "api";
    case Source::waived:
      return "waived";
    case Source::saathiid:
      break;
  }
  return "saathiid";
}

std::string ids_of(const std::vector<Ending>& endings) {
  return postgres::to_array(endings, &Ending::call_id);
}

std::string end_times_of(const std::vector<Ending>& endings) {
  return postgres::to_array(endings,
                            [](const Ending& ending) { return to_iso8601(ending.end_time); });
}

/// Callers, and listeners where asked for: sorted, each once.
std::vector<int> users_of(const std::vector<Call>& calls, bool with_listeners) {
  std::vector<int> users;
  users.reserve(calls.size() * 2);
  for (const Call& call : calls) {
    if (call.user_id) {
      users.push_back(*call.user_id);
    }
    if (with_listeners && call.listener_id) {
      users.push_back(*call.listener_id);
    }
  }
  std::ranges::sort(users);
  users.erase(std::unique(users.begin(), users.end()), users.end());
  return users;
}

Wallets lock_wallets(postgres::Session& session, pqxx::transaction_base& transaction,
                     const std::vector<int>& users) {
  Wallets wallets;
  for (const auto& row :
       session.exec(transaction, sql::billing::lock_wallets, postgres::to_array(users))) {
    wallets[row[0].as<int>()] = {.wallet_id = row[1].as<int>(),
                                 .balance = row[2].as<std::int64_t>()};
  }
  return wallets;
}

/// Fills in what the ledger says of those of the calls, sorted by id, of which
/// that is not known.
void read_charged_minutes(postgres::Session& session, pqxx::transaction_base& transaction,
                          std::vector<Call>& calls) {
  std::vector<int> unknown;
  for (const Call& call : calls) {
    if (!call.charged_minutes) {
      unknown.push_back(call.call_id);
    }
  }
  if (unknown.empty()) {
    return;
  }
  for (const auto& row :
       session.exec(transaction, sql::billing::charged_minutes, postgres::to_array(unknown))) {
    const auto call = std::ranges::lower_bound(calls, row[0].as<int>(), {}, &Call::call_id);
    call->charged_minutes = row[1].as<int>();
  }
}

/// Coins by wallet or by call: sorted, each once.
using Coins = std::vector<std::pair<int, std::int64_t>>;

Coins summed(const Coins& coins) {
  Coins sums;
  for (const auto& [id, amount] : coins) {
    if (sums.empty() || sums.back().first != id) {
      sums.emplace_back(id, 0);
    }
    sums.back().second += amount;
  }
  return sums;
}

std::string first_of(const Coins& coins) {
  return postgres::to_array(coins, &Coins::value_type::first);
}

std::string second_of(const Coins& coins) {
  return postgres::to_array(coins, &Coins::value_type::second);
}

void take_coins(postgres::Session& session, pqxx::transaction_base& transaction,
                const std::vector<Minute>& minutes) {
  Coins spent;
  Coins spent_on;
  for (const Minute& minute : minutes) {
    if (minute.source == Source::saathiid) {
      spent.emplace_back(minute.wallet_id, minute.coins);
      spent_on.emplace_back(minute.call_id, minute.coins);
    }
  }
  if (spent.empty()) {
    return;
  }
  std::ranges::sort(spent);
  session.exec(transaction, sql::billing::add_transactions, first_of(spent), second_of(spent));
  const Coins by_wallet = summed(spent);
  const auto taken = session.exec(transaction, sql::billing::take_coins, first_of(by_wallet),
                                  second_of(by_wallet))[0];
  if (taken[0].as<std::size_t>() != by_wallet.size() || taken[1].as<std::int64_t>() < 0) {
    throw std::runtime_error("a wallet would fall below 0: it changed while it was charged");
  }
  const Coins by_call = summed(spent_on);
  session.exec(transaction, sql::billing::add_coins_spent, first_of(by_call), second_of(by_call));
}

void add_charges(postgres::Session& session, pqxx::transaction_base& transaction,
                 const std::vector<Minute>& minutes) {
  if (minutes.empty()) {
    return;
  }
  const auto column = [&](auto member) { return postgres::to_array(minutes, member); };
  session.exec(
      transaction, sql::billing::add_charges, column(&Minute::call_id), column(&Minute::number),
      column(&Minute::user_id), column(&Minute::coins),
      column([](const Minute& minute) { return minute.start_time.time_since_epoch().count(); }),
      column([](const Minute& minute) { return word_of(minute.source); }),
      column(&Minute::balance_after));
}

void set_wait_times(postgres::Session& session, pqxx::transaction_base& transaction,
                    std::vector<std::pair<int, int>> wait_times, const WaitTimes& known) {
  std::erase_if(wait_times, [&](const auto& expected) {
    const auto found = known.find(expected.first);
    return found != known.end() && found->second == expected.second;
  });
  if (!wait_times.empty()) {
    session.exec(transaction, sql::billing::set_wait_times,
                 postgres::to_array(wait_times, &std::pair<int, int>::first),
                 postgres::to_array(wait_times, &std::pair<int, int>::second));
  }
}

std::string rupees(std::int64_t paise) { return fmt::format("{}.{:02}", paise / 100, paise % 100); }

}  // namespace

config::Setting stale_after_setting() {
  using namespace std::chrono_literals;
  return {
      .name = "stale_after",
      .default_value = Duration{10min},
      .help =
          "A call whose parties have both not been seen for so long has ended when either was "
          "last seen. coin_deduction does not charge it, call_cleanup ends it: keep both equal.",
      .min = 60'000'000};
}

config::Setting catch_up_setting() {
  return {.name = "charge_catch_up_limit",
          .default_value = std::int64_t{0},
          .help =
              "The most unpaid minutes of one call that are charged at once; older ones are "
              "waived. 0: no limit.",
          .min = 0,
          .max = 1'000'000};
}

std::vector<CountMetric> shared_metrics() {
  return {
      {.count = "minutes",
       .name = "saathiid_charges_total",
       .help = "Started minutes of calls that were charged, each once"},
      {.count = "coins",
       .name = "saathiid_coins_charged_total",
       .help = "Coins taken from callers"},
      {.count = "earned_paise",
       .name = "saathiid_earnings_rupees_total",
       .help = "Rupees that listeners earned by calls that saathiid ended",
       .count_per_unit = 100},
      {.count = "failed",
       .name = "saathiid_calls_failed_total",
       .help =
           "Times that a call alone could not be charged or ended and was left to the next run"},
  };
}

CountMetric dropped_metric(std::string_view count, std::string_view reason) {
  return {.count = count,
          .name = "saathiid_calls_dropped_total",
          .help = "Calls that saathiid ended, by reason",
          .labels = {{"reason", reason}}};
}

Tariff read_tariff(postgres::Session& session, pqxx::transaction_base& transaction) {
  Tariff tariff;
  for (const auto& row : session.exec(transaction, sql::billing::tariff)) {
    const Instant since =
        row[2].is_null() ? Instant::min() : Instant{Duration{row[2].as<std::int64_t>()}};
    const auto value = row[1].as<std::int64_t>();
    if (row[0].is_null()) {
      tariff.minutes.add(since, Duration{value});
    } else {
      tariff.rates[row[0].as<std::string>()].add(since, value);
    }
  }
  return tariff;
}

Tariff record_tariff(postgres::Session& session, Instant moment, const config::Rates& configured) {
  const auto read = [&](auto& transaction) { return read_tariff(session, transaction); };
  const auto is_recorded = [&](const Tariff& tariff) {
    const auto audio = tariff.rates.find("audio");
    const auto video = tariff.rates.find("video");
    return audio != tariff.rates.end() && audio->second.latest() == configured.audio &&
           video != tariff.rates.end() && video->second.latest() == configured.video &&
           !tariff.minutes.empty() && tariff.minutes.latest() == configured.increment;
  };
  // Rates hardly ever change: one round trip, and no transaction to write nothing.
  if (auto known = session.autocommit(read); is_recorded(known)) {
    return known;
  }
  return session.transact([&](auto& transaction) {
    session.exec(transaction, sql::billing::record_rates, to_iso8601(moment), configured.audio,
                 configured.video);
    session.exec(transaction, sql::billing::record_minute_length, to_iso8601(moment),
                 postgres::interval(configured.increment));
    return read(transaction);
  });
}

std::vector<Call> calls_of(const pqxx::result& rows) {
  std::vector<Call> calls;
  calls.reserve(static_cast<std::size_t>(rows.size()));
  for (const auto& row : rows) {
    calls.push_back({.call_id = row[0].as<int>(),
                     .user_id = optional_int(row[1]),
                     .listener_id = optional_int(row[2]),
                     .call_type = row[3].c_str(),
                     .start_time = Instant{Duration{row[4].as<std::int64_t>()}},
                     .coins_spent = row[5].as<std::int64_t>(),
                     .charged_minutes = std::nullopt,
                     .end_time = std::nullopt});
  }
  return calls;
}

std::vector<Call> lock_calls(postgres::Session& session, pqxx::transaction_base& transaction,
                             const std::vector<int>& call_ids) {
  return calls_of(
      session.exec(transaction, sql::billing::lock_calls, postgres::to_array(call_ids)));
}

std::vector<Call> lock_calls_to_end(postgres::Session& session, pqxx::transaction_base& transaction,
                                    const std::vector<int>& call_ids) {
  session.exec(transaction, sql::billing::ensure_listener_wallets, postgres::to_array(call_ids));
  auto calls = lock_calls(session, transaction, call_ids);
  if (!calls.empty()) {
    const auto parties = users_of(calls, true);
    lock_wallets(session, transaction, parties);
    session.exec(transaction, sql::billing::lock_statuses, postgres::to_array(parties));
  }
  return calls;
}

Charges charge(postgres::Session& session, pqxx::transaction_base& transaction,
               std::vector<Call> calls, const Tariff& tariff, const Terms& terms,
               const WaitTimes& known_wait_times) {
  if (calls.empty()) {
    return {};
  }
  const auto wallets = lock_wallets(session, transaction, users_of(calls, false));
  read_charged_minutes(session, transaction, calls);
  Bill bill = price(calls, wallets, tariff, terms);
  take_coins(session, transaction, bill.minutes);
  add_charges(session, transaction, bill.minutes);
  set_wait_times(session, transaction, std::move(bill.wait_times), known_wait_times);
  return {std::move(bill.calls), bill.is_complete};
}

void open(postgres::Session& session, pqxx::transaction_base& transaction,
          const std::vector<Ending>& endings, Instant moment) {
  session.exec(transaction, sql::billing::open, ids_of(endings), to_iso8601(moment));
}

Taken charge_until_end(postgres::Session& session, pqxx::transaction_base& transaction,
                       const std::vector<Call>& calls, const std::vector<Ending>& endings,
                       const Tariff& tariff, const Terms& terms) {
  std::vector<Call> left;
  for (const Ending& ending : endings) {
    left.push_back(*std::ranges::lower_bound(calls, ending.call_id, {}, &Call::call_id));
    left.back().end_time = ending.end_time;
  }
  Taken taken;
  // Each pass stops a wallet at the first minute that it does not cover; without
  // that minute's call the others on the same wallet go on.
  for (bool is_complete = false; !is_complete;) {
    const auto charges = charge(session, transaction, left, tariff, terms);
    std::set<int> short_calls;
    for (const Charged& call : charges.calls) {
      taken.minutes += call.minutes - call.waived;
      taken.coins += call.coins;
      if (call.is_short) {
        short_calls.insert(call.call_id);
      }
    }
    std::erase_if(left, [&](const Call& call) { return short_calls.contains(call.call_id); });
    is_complete = charges.is_complete && (short_calls.empty() || left.empty());
  }
  return taken;
}

std::int64_t refund(postgres::Session& session, pqxx::transaction_base& transaction,
                    const std::vector<Ending>& endings) {
  return session
      .exec(transaction, sql::billing::refund, ids_of(endings), end_times_of(endings))[0][0]
      .as<std::int64_t>();
}

std::vector<Ended> settle(postgres::Session& session, pqxx::transaction_base& transaction,
                          const std::vector<Ending>& endings, const config::Platform& platform) {
  const config::Badge& basic = platform.badges.tiers.front();
  const auto rows = session.exec(
      transaction, sql::billing::settle, ids_of(endings), end_times_of(endings),
      postgres::to_array(endings, &Ending::reason), platform.timezone, rupees(basic.audio_paise),
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
                     .earned = row[7].c_str(),
                     .earned_paise = row[8].as<std::int64_t>()});
  }
  return ended;
}

}  // namespace saathii::jobs::billing
