"""Over-the-air update for ESP8266 and ESP32 devices with the sketches people already have."""
