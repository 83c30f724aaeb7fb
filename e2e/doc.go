// Package e2e tests mtor as its users meet it: real processes of the real
// binary, real files, loopback sockets, and signals. A test waits for ready
// lines and for answers of the menu, and asks trackers over the network.
package e2e
