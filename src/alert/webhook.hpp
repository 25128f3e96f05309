#pragma once

#include <memory>

#include "saathii/alert/channel.hpp"

namespace saathii::alert {

/// The alert as JSON, by POST. Some answers are worth another try (408, 425, 429
/// and 5xx), others say that the settings are wrong.
[[nodiscard]] std::shared_ptr<Channel> make_webhook(const config::AlertWebhook& settings,
                                                    const std::string& ca_file);

}  // namespace saathii::alert
