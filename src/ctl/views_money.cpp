#include <fmt/format.h>

#include <algorithm>

#include "facts.hpp"
#include "saathii/base/counted.hpp"
#include "table.hpp"
#include "text.hpp"
#include "views.hpp"
#include "words.hpp"

// What was paid: call, wallet.

namespace saathii::ctl {

namespace {

using Align = Column::Align;

constexpr std::size_t least_note = 11;  ///< "not charged"
constexpr std::size_t lines_of_note = 2;

std::string user(std::int64_t id) { return id == 0 ? "unknown" : fmt::format("user {}", id); }

std::string coins(std::int64_t number) {
  return grouped(number) + (number == 1 || number == -1 ? " coin" : " coins");
}

std::string balance(const std::optional<std::int64_t>& number) {
  return number ? grouped(*number) : "-";
}

std::string full_time(const Moment& moment, const Screen& screen) {
  return moment ? local_time(*moment, screen.zone) : "unknown";
}

/// Why saathiid ended a call, by the word in its ledger.
std::string why_ended(const std::string& reason) {
  static constexpr std::pair<std::string_view, const char*> known[] = {
      {"balance", "the balance did not cover the next minute"},
      {"not_seen", "neither party was seen any more"},
      {"overdue", "its expected length was over"},
      {"no_wait_time", "its wait_time was used up"},
  };
  for (const auto& [word, text] : known) {
    if (word == reason) {
      return text;
    }
  }
  return reason;
}

/// The minutes of a receipt, added up.
struct Sums {
  std::int64_t api = 0;
  std::int64_t saathiid = 0;
  std::int64_t paid = 0;  ///< minutes
  std::int64_t refunded = 0;
  std::int64_t refunded_minutes = 0;
  std::int64_t waived_minutes = 0;

  explicit Sums(const std::vector<Minute>& minutes) {
    for (const Minute& minute : minutes) {
      if (minute.refunded_at) {
        refunded += minute.coins;
        ++refunded_minutes;
      } else if (minute.source == "waived") {
        ++waived_minutes;
      } else {
        (minute.source == "api" ? api : saathiid) += minute.coins;
        ++paid;
      }
    }
  }
  [[nodiscard]] std::int64_t cost() const { return api + saathiid; }
};

/// Without the day of the call, which is told above.
std::string time_in(const Receipt& receipt, Instant moment, const Screen& screen) {
  return receipt.start_time ? time_since(moment, *receipt.start_time, screen.zone)
                            : short_time(moment, screen.zone);
}

/// When the API took its coins is not recorded; its row was made later.
std::string charged_at(const Receipt& receipt, const Minute& minute, const Screen& screen) {
  return minute.charged_at && minute.source != "api" ? time_in(receipt, *minute.charged_at, screen)
                                                     : "-";
}

std::string note_of(const Receipt& receipt, const Minute& minute, const Screen& screen) {
  if (minute.refunded_at) {
    return "given back " + time_in(receipt, *minute.refunded_at, screen);
  }
  return minute.source == "waived" ? "not charged" : "";
}

std::string minutes_table(const Receipt& receipt, const Screen& screen) {
  Table table({{"MIN", Align::right},
               {"STARTED"},
               {"CHARGED"},
               {"BY"},
               {"COINS", Align::right},
               {"BEFORE", Align::right},
               {"AFTER", Align::right},
               {"", Align::left, least_note}});
  for (const Minute& minute : receipt.minutes) {
    const Style style = minute.refunded_at || minute.source == "waived" ? Style::dim : Style::plain;
    table.add({{std::to_string(minute.number), style},
               {time_in(receipt, minute.starts_at, screen), style},
               {charged_at(receipt, minute, screen), style},
               {minute.source, style},
               {grouped(minute.coins), style},
               {balance(minute.balance_before), style},
               {balance(minute.balance_after), style},
               {note_of(receipt, minute, screen), Style::attention, {}, lines_of_note}});
  }
  return table.draw(screen, 2);
}

Facts head_of(const Receipt& receipt, const Screen& screen) {
  Facts facts;
  facts.add("Caller", user(receipt.user_id));
  facts.add("Listener", user(receipt.listener_id));
  facts.add("Started", full_time(receipt.start_time, screen));
  if (receipt.end_time) {
    std::string text = full_time(receipt.end_time, screen);
    if (receipt.start_time && *receipt.end_time >= *receipt.start_time) {
      text += ", after " + humanize(std::chrono::floor<std::chrono::seconds>(*receipt.end_time -
                                                                             *receipt.start_time));
    }
    facts.add("Ended", text);
  } else if (receipt.status == "ongoing" && receipt.start_time) {
    facts.add("Ended", "not yet; it goes on for " + roughly(screen.now - *receipt.start_time));
  }
  return facts;
}

void add_sums(Facts& facts, const Receipt& receipt, const Sums& sums) {
  std::string paid = fmt::format("{}, {}", counted(sums.paid, "minute"), coins(sums.cost()));
  if (sums.api > 0 && sums.saathiid > 0) {
    paid +=
        fmt::format(" ({} by the API, {} by saathiid)", grouped(sums.api), grouped(sums.saathiid));
  }
  facts.add("Paid", paid);
  if (sums.refunded_minutes > 0) {
    facts.add("Given back",
              fmt::format("{}, {}: they began after the call had ended",
                          counted(sums.refunded_minutes, "minute"), coins(sums.refunded)));
  }
  if (sums.waived_minutes > 0) {
    facts.add("Waived", counted(sums.waived_minutes, "minute") + ", by charge_catch_up_limit");
  }
  if (sums.cost() == receipt.coins_spent) {
    facts.add("Cost", coins(receipt.coins_spent) + ", as the call's row says");
  } else {
    facts.add("Cost",
              fmt::format("{} by its minutes, but {} by the call's row: they do not agree",
                          coins(sums.cost()), grouped(receipt.coins_spent)),
              Style::bad);
  }
}

void add_settlement(Facts& facts, const Receipt& receipt, const Screen& screen) {
  if (const auto& settled = receipt.settlement) {
    facts.add("Settled", full_time(settled->settled_at, screen) +
                             " by saathiid, which ended the call: " + why_ended(settled->reason));
    facts.add("Earned", fmt::format("{} by {}, for {} ({})", screen.rupees(settled->earned),
                                    user(receipt.listener_id), counted(settled->minutes, "minute"),
                                    coins(settled->coins)));
  } else if (receipt.status == "ongoing") {
    facts.add("Settled", "not yet");
  } else {
    facts.add("Settled", "by the platform's API, which ended the call");
  }
}

}  // namespace

std::string receipt_view(const Receipt& receipt, const Screen& screen) {
  std::string text =
      screen.lines({{fmt::format("Receipt of call {}: ", receipt.call_id), Style::bold},
                    {fmt::format("{}, {}", receipt.call_type.empty() ? "?" : receipt.call_type,
                                 receipt.status.empty() ? "?" : receipt.status)}});
  text += head_of(receipt, screen).draw(screen);
  Facts sums;
  if (receipt.minutes.empty()) {
    sums.add("Paid", coins(receipt.coins_spent) +
                         " to the API; saathiid has charged no minute of this call");
  } else {
    text += "\n" + minutes_table(receipt, screen);
    add_sums(sums, receipt, Sums{receipt.minutes});
  }
  add_settlement(sums, receipt, screen);
  return text + "\n" + sums.draw(screen);
}

std::string wallet_view(const Wallet& wallet, const Screen& screen) {
  std::string text =
      screen.lines({{fmt::format("Wallet of user {}", wallet.user_id), Style::bold}});
  Facts facts;
  facts.add("Balance", coins(wallet.balance_coins),
            wallet.balance_coins < 0 ? Style::bad : Style::plain);
  facts.add("To withdraw", screen.rupees(wallet.withdrawable_money));
  if (!wallet.ongoing_calls.empty()) {
    std::string calls;
    for (const std::int64_t call : wallet.ongoing_calls) {
      calls += (calls.empty() ? "" : ", ") + std::to_string(call);
    }
    facts.add("In call", calls);
  }
  text += facts.draw(screen);
  if (wallet.entries.empty()) {
    return text + (screen.legend ? "\n" + screen.lines({{"No transaction is recorded."}}) : "");
  }
  Table table({{"WHEN"}, {"WHAT"}, {"COINS", Align::right}, {"RUPEES", Align::right}});
  for (const WalletEntry& entry : wallet.entries) {
    table.add({{entry.at ? local_time(*entry.at, screen.zone) : "-"},
               {entry.type.empty() ? "-" : entry.type},
               {entry.coins == 0 ? "-" : (entry.coins > 0 ? "+" : "") + grouped(entry.coins)},
               {entry.money == "0.00" ? "-" : entry.money}});
  }
  return text + "\n" + table.draw(screen, 2);
}

}  // namespace saathii::ctl
