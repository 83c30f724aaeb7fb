// Package sim runs whole swarms in virtual time: the real torrent loop, picker
// and peer sessions of up to a thousand clients, over the in-memory transport
// with lines of a given speed, in stand-in pieces of 1 KiB. What comes out does
// not depend on the machine: a second of the swarm takes as long as it takes.
//
// The rates are those of real lines divided by 512, as the pieces are: 39 KiB/s
// stands for 20 MB/s, and one piece takes 26 ms on either.
package sim
