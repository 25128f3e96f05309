#pragma once

#include <memory>

#include "saathii/alert/channel.hpp"

namespace saathii::alert {

/// The alert as a mail to each recipient. Those that the server puts off are
/// tried again, alone; those that it refuses are told of.
[[nodiscard]] std::shared_ptr<Channel> make_mail(const config::AlertMail& settings,
                                                 const std::string& ca_file);

}  // namespace saathii::alert
