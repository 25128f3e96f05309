#pragma once

#include <memory>
#include <string>

#include "saathii/alert/channel.hpp"

namespace saathii::alert::test {

inline Delivery delivery(const std::string& title = "a failed") {
  Message message;
  message.alerts = {"a.failed.1"};
  message.kinds = {Kind::failed};
  message.subject = "a";
  message.reason = "why";
  message.run_id = "run-1";
  Letter letter = write_letter(message, {"db1", nullptr});
  letter.title = title;
  return {std::make_shared<const Letter>(std::move(letter))};
}

}  // namespace saathii::alert::test
