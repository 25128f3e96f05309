#include "saathii/jobs/pricing.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <span>
#include <stdexcept>
#include <tuple>

namespace saathii::jobs::billing {

namespace {

/// Beyond any call that there can be: a start in 1970 makes some 30 million.
constexpr std::int64_t max_minute = 2'000'000'000;

/// More minutes than the API can have taken before saathiid first saw the call.
constexpr int max_opening_minutes = 1'000'000;

/// More minutes than anybody means to forgive: the start is wrong.
constexpr int max_waived_minutes = 1'000'000;

/// A call while its minutes are priced.
struct Meter {
  const Call* call = nullptr;
  const RateLine* rates = nullptr;
  int paid = 0;        ///< minutes, before and now
  int started = 0;     ///< minutes
  Duration minute{0};  ///< its length
  Charged charged;

  [[nodiscard]] Instant next_start() const { return call->start_time + paid * minute; }
  [[nodiscard]] bool is_due() const { return paid < started; }
};

int paid_minutes(const Call& call, const RateLine& rates) {
  if (call.charged_minutes) {
    return *call.charged_minutes;
  }
  if (call.coins_spent <= 0) {
    return 0;
  }
  const std::int64_t paid = call.coins_spent / rates.at(call.start_time);
  return static_cast<int>(std::clamp<std::int64_t>(paid, 1, max_minute));
}

int started_minutes(const Call& call, Instant moment, Duration minute) {
  const auto lasted = call.end_time.value_or(moment) - call.start_time;
  const std::int64_t whole = lasted / minute;
  return lasted < Duration::zero()
             ? 0
             : static_cast<int>(std::min<std::int64_t>(whole, max_minute)) + 1;
}

/// The calls of one payer.
class Payer {
 public:
  Payer(const Wallet& wallet, const Terms& terms, Bill& bill)
      : wallet_(wallet), terms_(terms), bill_(bill), balance_(wallet.balance) {}

  void add(const Call& call, const RateLine& rates, Duration minute);
  void charge();
  void report();

 private:
  [[nodiscard]] Meter* next_due();
  [[nodiscard]] bool is_waived(const Meter& meter) const;
  void charge_minute(Meter& meter, std::int64_t coins, bool waived);
  void expect(const Meter& meter, std::int64_t minutes_left);

  const Wallet wallet_;
  const Terms& terms_;
  Bill& bill_;
  std::int64_t balance_;
  bool is_short_ = false;
  std::vector<Meter> meters_;
};

void Payer::add(const Call& call, const RateLine& rates, Duration minute) {
  Meter& meter = meters_.emplace_back();
  meter.call = &call;
  meter.rates = &rates;
  meter.paid = paid_minutes(call, rates);
  meter.minute = minute;
  meter.started = started_minutes(call, terms_.moment, minute);
  meter.charged = {.call_id = call.call_id,
                   .user_id = call.user_id,
                   .listener_id = call.listener_id,
                   .call_type = call.call_type,
                   .start_time = call.start_time,
                   .coins_spent = call.coins_spent};
  if (terms_.catch_up_limit > 0 && meter.started - meter.paid > max_waived_minutes) {
    throw std::runtime_error(
        fmt::format("call {} has {} unpaid minutes, too many to waive: its "
                    "start_time is wrong",
                    call.call_id, meter.started - meter.paid));
  }
  if (call.charged_minutes || !meter.is_due()) {
    return;
  }
  // What the API had taken, so that the ledger holds every paid minute: once the
  // call has a minute due; billing.sql's "open" does it for calls that end before.
  if (meter.paid > max_opening_minutes) {
    throw std::runtime_error(
        fmt::format("call {} claims {} paid minutes", call.call_id, meter.paid));
  }
  const std::int64_t rate = rates.at(call.start_time);
  for (int number = 1; number <= meter.paid; ++number) {
    bill_.minutes.push_back(
        {.call_id = call.call_id,
         .number = number,
         .user_id = call.user_id.value_or(0),
         .coins = number == 1 ? call.coins_spent - (meter.paid - 1) * rate : rate,
         .start_time = call.start_time + (number - 1) * minute,
         .source = Source::api,
         .balance_after = std::nullopt});
  }
}

Meter* Payer::next_due() {
  Meter* next = nullptr;
  for (Meter& meter : meters_) {
    if (meter.is_due() &&
        (next == nullptr || std::tuple(meter.next_start(), meter.call->call_id) <
                                std::tuple(next->next_start(), next->call->call_id))) {
      next = &meter;
    }
  }
  return next;
}

bool Payer::is_waived(const Meter& meter) const {
  return terms_.catch_up_limit > 0 && meter.paid < meter.started - terms_.catch_up_limit;
}

void Payer::charge_minute(Meter& meter, std::int64_t coins, bool waived) {
  balance_ -= coins;
  bill_.minutes.push_back({.call_id = meter.call->call_id,
                           .number = meter.paid + 1,
                           .user_id = meter.call->user_id.value_or(0),
                           .wallet_id = wallet_.wallet_id,
                           .coins = coins,
                           .start_time = meter.next_start(),
                           .source = waived ? Source::waived : Source::saathiid,
                           .balance_after = balance_});
  ++meter.paid;
  ++meter.charged.minutes;
  meter.charged.waived += waived ? 1 : 0;
  meter.charged.coins += coins;
  meter.charged.coins_spent += coins;
}

void Payer::charge() {
  while (Meter* meter = next_due()) {
    if (bill_.minutes.size() >= terms_.max_minutes) {
      bill_.is_complete = false;
      return;
    }
    const bool waived = is_waived(*meter);
    const std::int64_t coins = waived ? 0 : meter->rates->at(meter->next_start());
    if (coins > balance_) {
      meter->charged.is_short = is_short_ = true;
      return;
    }
    charge_minute(*meter, coins, waived);
  }
}

void Payer::report() {
  for (Meter& meter : meters_) {
    const std::int64_t rate = meter.rates->at(terms_.moment);
    meter.charged.balance = balance_;
    meter.charged.paid_minutes = meter.paid;
    meter.charged.minutes_left = std::max<std::int64_t>(balance_, 0) / rate;
    meter.charged.had_more = !meter.call->charged_minutes || wallet_.balance / rate > 1;
    // A payer with a short call is judged again, once that has ended.
    if (!is_short_ && !meter.call->end_time) {
      expect(meter, meter.charged.minutes_left);
    }
    bill_.calls.push_back(std::move(meter.charged));
  }
}

void Payer::expect(const Meter& meter, std::int64_t minutes_left) {
  constexpr std::int64_t longest = std::numeric_limits<int>::max();
  const auto wait_time =
      static_cast<int>(std::min(longest, std::min(longest, minutes_left) + meter.paid));
  for (const auto& party : {meter.call->user_id, meter.call->listener_id}) {
    if (party) {
      bill_.wait_times.emplace_back(*party, wait_time);
    }
  }
}

/// Who has several calls waits for the longest.
void keep_longest(std::vector<std::pair<int, int>>& wait_times) {
  std::ranges::sort(wait_times, [](const auto& one, const auto& other) {
    return std::tuple(one.first, -one.second) < std::tuple(other.first, -other.second);
  });
  const auto same_user = [](const auto& one, const auto& other) {
    return one.first == other.first;
  };
  wait_times.erase(std::unique(wait_times.begin(), wait_times.end(), same_user), wait_times.end());
}

}  // namespace

Bill price(const std::vector<Call>& calls, const Wallets& wallets, const Tariff& tariff,
           const Terms& terms) {
  // By caller; those without one are each alone.
  std::vector<const Call*> sorted;
  sorted.reserve(calls.size());
  for (const Call& call : calls) {
    sorted.push_back(&call);
  }
  const auto payer_of = [](const Call* call) {
    return call->user_id ? std::tuple(0, *call->user_id) : std::tuple(1, call->call_id);
  };
  std::ranges::sort(sorted, [&](const Call* one, const Call* other) {
    return std::tuple_cat(payer_of(one), std::tuple(one->call_id)) <
           std::tuple_cat(payer_of(other), std::tuple(other->call_id));
  });

  Bill bill;
  bill.minutes.reserve(std::min(calls.size() * 2, terms.max_minutes));
  bill.calls.reserve(calls.size());
  bill.wait_times.reserve(calls.size() * 2);
  for (auto first = sorted.begin(); first != sorted.end() && bill.is_complete;) {
    const auto last = std::find_if(
        first, sorted.end(), [&](const Call* call) { return payer_of(call) != payer_of(*first); });
    const auto wallet = (*first)->user_id ? wallets.find(*(*first)->user_id) : wallets.end();
    Payer payer(wallet == wallets.end() ? Wallet{} : wallet->second, terms, bill);
    for (const Call* call : std::span(first, last)) {
      if (const auto line = tariff.rates.find(call->call_type); line != tariff.rates.end()) {
        payer.add(*call, line->second, tariff.minutes.at(call->start_time));
      }
    }
    payer.charge();
    payer.report();
    first = last;
  }
  keep_longest(bill.wait_times);
  std::ranges::sort(bill.minutes, {},
                    [](const Minute& minute) { return std::tuple(minute.call_id, minute.number); });
  return bill;
}

}  // namespace saathii::jobs::billing
