#!/bin/sh
# Makes the services known to systemd. Nothing is started: the settings in
# /etc/mtor come first.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
